/**
 * Parses the messages on a connection: small, and deliberately independent of the balancer's own parser. Pure.
 */

export interface Message {
  /** Request line or status line. */
  readonly line: string;
  /** As received, `Name: value`. */
  readonly fields: readonly string[];
  /** Without framing; the received part if it is incomplete. */
  readonly body: string;
  readonly trailers: readonly string[];
  /** Whether the message is complete. */
  readonly complete: boolean;
  /** Its length in bytes, including the head. */
  readonly length: number;
}

/** All requests in `text`; the last one may be incomplete. */
export function readRequests(text: string): Message[] {
  const requests: Message[] = [];
  for (let at = 0; at < text.length; ) {
    const request = readMessage(text, at, false, false);
    if (request === undefined) break;
    requests.push(request);
    if (!request.complete) break;
    at += request.length;
  }
  return requests;
}

/** All responses in `text`, including interim ones. `methods`: of their requests, in order; the last one is repeated. */
export function readAnswers(text: string, methods: readonly string[], ended: boolean): Message[] {
  const answers: Message[] = [];
  let answered = 0;
  for (let at = 0; at < text.length; ) {
    const method = methods[Math.min(answered, methods.length - 1)] ?? "GET";
    const answer = readMessage(text, at, method === "HEAD", ended);
    if (answer === undefined) break;
    answers.push(answer);
    if (!answer.complete) break;
    at += answer.length;
    const status = statusOf(answer);
    if (status === 101) break;
    if (status >= 200) answered++;
  }
  return answers;
}

export function statusOf(answer: Message): number {
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer.line)?.[1] ?? Number.NaN);
}

/** The value of the first field with the name `lower`. */
export function valueFor(message: Message, lower: string): string | undefined {
  const line = message.fields.find((field) => nameOf(field) === lower);
  return line?.slice(line.indexOf(":") + 1).trim();
}

export function nameOf(field: string): string {
  return field.slice(0, field.indexOf(":")).toLowerCase();
}

/** Undefined if not even the head is complete. `isHead`: a response to HEAD. */
function readMessage(
  text: string,
  from: number,
  isHead: boolean,
  ended: boolean,
): Message | undefined {
  const end = text.indexOf("\r\n\r\n", from);
  if (end < 0) return undefined;
  const [line = "", ...fields] = text.slice(from, end).split("\r\n");
  const bodyAt = end + 4;
  const message = { line, fields, body: "", trailers: [], complete: true, length: bodyAt - from };
  const isAnswer = line.startsWith("HTTP/");
  const status = isAnswer ? statusOf(message) : 0;
  if (isHead || (isAnswer && (status < 200 || status === 204 || status === 304))) return message;
  if (valueFor(message, "transfer-encoding")?.toLowerCase() === "chunked") {
    return { ...message, ...readChunks(text, bodyAt, from) };
  }
  const length = valueFor(message, "content-length");
  if (length !== undefined) {
    const body = text.slice(bodyAt, bodyAt + Number(length));
    const complete = body.length === Number(length);
    return { ...message, body, complete, length: bodyAt + body.length - from };
  }
  if (!isAnswer) return message;
  return { ...message, body: text.slice(bodyAt), complete: ended, length: text.length - from };
}

function readChunks(
  text: string,
  from: number,
  start: number,
): Pick<Message, "body" | "trailers" | "complete" | "length"> {
  let body = "";
  for (let at = from; ; ) {
    const lineEnd = text.indexOf("\r\n", at);
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (lineEnd < 0 || Number.isNaN(size)) return incomplete(body, text, start);
    at = lineEnd + 2;
    if (size === 0) {
      const isPlain = text.startsWith("\r\n", at);
      const end = isPlain ? at : text.indexOf("\r\n\r\n", at);
      if (end < 0) return incomplete(body, text, start);
      const lines = isPlain ? [] : text.slice(at, end).split("\r\n");
      const trailers = lines.map((line) => nameOf(line) + line.slice(line.indexOf(":")));
      return { body, trailers, complete: true, length: end + (isPlain ? 2 : 4) - start };
    }
    body += text.slice(at, at + size);
    if (text.slice(at + size, at + size + 2) !== "\r\n") return incomplete(body, text, start);
    at += size + 2;
  }
}

function incomplete(body: string, text: string, start: number) {
  return { body, trailers: [], complete: false, length: text.length - start };
}
