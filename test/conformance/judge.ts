/**
 * Plays one case and compares the result with the expected one.
 */

import type { RawSocket } from "../support/sockets.ts";
import type { Case, SeenAnswer, SeenRequest } from "./case.ts";
import { type Message, nameOf, readAnswers, statusOf } from "./messages.ts";
import { AFTER, Stage, soon, type Target, type Workers } from "./stage.ts";

/** Plays `one` and returns the differences; empty if it passes. */
export async function judge(
  one: Case,
  target: Target,
  secure: boolean,
  workers: Workers,
): Promise<string[]> {
  const stage = new Stage(target, secure, workers);
  try {
    if (one.play !== undefined) await one.play(stage);
    else return await playTable(one, stage);
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  } finally {
    await stage.close();
  }
}

async function playTable(one: Case, stage: Stage): Promise<string[]> {
  const wrong: string[] = [];
  if (one.answers !== undefined) stage.answers(...one.answers);
  const client = await stage.client();
  const parts = typeof one.sends === "string" ? [one.sends] : one.sends;
  for (const part of parts) {
    // The balancer may refuse before everything is sent; then it does not read the rest.
    if (client.closed) break;
    await new Promise<void>((resolve) => {
      client.socket.write(Buffer.from(part, "latin1"), () => resolve());
    });
  }
  if (one.ends === true) client.socket.end();

  const methods = one.methods ?? [parts.join("").trimStart().split(" ", 1)[0] ?? "GET"];
  await waitForAnswers(one, client, methods);
  wrong.push(...compareEnd(one, client, methods));
  if (one.client !== undefined) {
    const answers = readAnswers(client.text, methods, client.ended || client.closed);
    wrong.push(...compareAll("client", one.client, answers, compareAnswer));
  }
  if (one.leaves === "open") wrong.push(...(await checkInStep(client)));
  if (one.worker !== undefined) {
    const expected = one.worker === "nothing" ? [] : one.worker;
    const requests = stage.requests.filter(({ line }) => !line.startsWith("GET /after "));
    wrong.push(...compareAll("worker", expected, requests, compareRequest));
    if (one.worker === "nothing" && stage.workerBytes !== "") {
      wrong.push(`a worker got ${show(stage.workerBytes)}`);
    }
  }
  return wrong;
}

/** Resolves when all responses have arrived or, if the case requires it, the connection has ended. */
async function waitForAnswers(one: Case, client: RawSocket, methods: readonly string[]) {
  const wanted = one.client?.length ?? 1;
  const over = () => client.ended || client.closed;
  const complete = () =>
    readAnswers(client.text, methods, over()).filter((answer) => answer.complete).length;
  const mustEnd = one.leaves === "closed" || one.leaves === "cut";
  await soon(
    () => over() || (!mustEnd && complete() >= wanted),
    `${mustEnd ? "the end of the connection" : `${wanted} responses`}; the client got ${show(client.text)}`,
  );
}

function compareEnd(one: Case, client: RawSocket, methods: readonly string[]): string[] {
  if (one.leaves !== "cut") return [];
  const last = readAnswers(client.text, methods, true).at(-1);
  const noticed = client.error !== undefined || last === undefined || !last.complete;
  return noticed ? [] : [`a truncated response looks complete to the client: ${show(client.text)}`];
}

/** A further request gets its own response, so requests and responses are still in step. */
async function checkInStep(client: RawSocket): Promise<string[]> {
  if (client.ended || client.closed) return ["the client's connection was closed"];
  client.text = "";
  client.write(AFTER);
  const answers = () => readAnswers(client.text, ["GET"], false);
  try {
    await soon(() => client.closed || client.ended || answers()[0]?.complete === true, "");
  } catch {
    return ["a further request got no response"];
  }
  if (client.ended) return ["the client's connection was closed"];
  const [answer] = answers();
  return answer?.body === "after" ? [] : [`a further request got ${show(client.text)}`];
}

function compareAll<Expected>(
  who: string,
  expected: readonly Expected[],
  got: readonly Message[],
  compare: (expected: Expected, got: Message) => string[],
): string[] {
  const wrong: string[] = [];
  if (got.length !== expected.length) {
    const lines = got.map(({ line }) => line);
    wrong.push(
      `the ${who} got ${got.length} messages, not ${expected.length}: ${show(lines.join(" | "))}`,
    );
  }
  for (const [index, one] of expected.entries()) {
    const message = got[index];
    if (message !== undefined)
      wrong.push(...compare(one, message).map((text) => `${who}: ${text}`));
  }
  return wrong;
}

function compareRequest(expected: SeenRequest, got: Message): string[] {
  const wrong = compareFields(expected, got);
  if (expected.line !== undefined && got.line !== expected.line) {
    wrong.push(`got the line ${show(got.line)}, not ${show(expected.line)}`);
  }
  return wrong;
}

function compareAnswer(expected: SeenAnswer, got: Message): string[] {
  const wrong = compareFields(expected, got);
  const status = statusOf(got);
  const right = typeof expected.status === "number" ? [expected.status] : expected.status;
  if (!right.includes(status)) wrong.push(`got ${show(got.line)}, not ${right.join(" or ")}`);
  return wrong;
}

function compareFields(
  expected: Pick<SeenRequest, "has" | "lacks" | "body" | "trailers">,
  got: Message,
): string[] {
  const wrong: string[] = [];
  const lines = got.fields.map(normal);
  for (const line of expected.has ?? []) {
    if (!lines.includes(normal(line))) wrong.push(`no field ${show(line)}`);
  }
  for (const name of expected.lacks ?? []) {
    const there = got.fields.find((field) => nameOf(field) === name);
    if (there !== undefined) wrong.push(`got the field ${show(there)}`);
  }
  if (expected.body !== undefined && got.body !== expected.body) {
    wrong.push(`got the body ${show(got.body)}, not ${show(expected.body)}`);
  }
  if (expected.trailers !== undefined && String(got.trailers) !== String(expected.trailers)) {
    wrong.push(
      `got the trailers ${show(got.trailers.join(" | "))}, not ${show(expected.trailers.join(" | "))}`,
    );
  }
  return wrong;
}

/** A field line with its name in lower case and one space after the colon. */
function normal(line: string): string {
  return `${nameOf(line)}: ${line.slice(line.indexOf(":") + 1).trim()}`;
}

function show(text: string): string {
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text);
}
