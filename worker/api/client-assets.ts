/**
 * The scripts and styles of the browser client, as edge/build.mjs has bundled them: with a hash in each name, so that browsers
 * keep them, and compressed. Beside them, the licenses of the packages in them. A page of another version of this server, as
 * during a rolling upgrade, gets this version's entry.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { FastifyInstance, FastifyReply } from "fastify";
import { productFile } from "../../shared/base/product-files.ts";
import { pageHeaders } from "../http/pages.ts";
import { type Refuse, textResponse } from "../http/responses.ts";

export interface ClientAssets {
  /** Names of the entry files; undefined without a build, as in development. */
  readonly script: string | undefined;
  readonly style: string | undefined;
}

const FOLDER = productFile("worker/web/client/app/");
/** Names that change with the content. */
const HASHED = /-[A-Z0-9]{8}\.\w+$/;
const FOR_EVER = "public, max-age=31536000, immutable";
const TYPES: ReadonlyMap<string, string> = new Map([
  ["js", "text/javascript; charset=utf-8"],
  ["css", "text/css; charset=utf-8"],
  ["txt", "text/plain; charset=utf-8"],
]);
/** In order of preference; the suffix is that of the file beside the plain one. */
const ENCODINGS = [
  { name: "br", suffix: ".br" },
  { name: "gzip", suffix: ".gz" },
] as const;

export function addClientAssets(deps: {
  readonly app: FastifyInstance;
  readonly refuse: Refuse;
  readonly settings: { readonly serverUrl: string | undefined };
  /** Default: the folder of this build. */
  readonly folder?: URL;
}): ClientAssets {
  const { app, refuse, folder = FOLDER } = deps;
  const names = new Set(listFolder(folder));
  const entries = {
    script: [...names].find((name) => /^main-[A-Z0-9]+\.js$/.test(name)),
    style: [...names].find((name) => /^client-[A-Z0-9]+\.css$/.test(name)),
  };
  const headers = pageHeaders(deps.settings);
  const read = createReader(folder);

  app.get<{ Params: { file: string } }>("/app/:file", (request, reply) => {
    const { file } = request.params;
    const isOurs = names.has(file) && TYPES.has(extensionOf(file));
    const served = isOurs ? file : entryInsteadOf(file, entries);
    if (served === undefined) return refuse(reply, "path", textResponse(404, "Not found"));
    reply.headers({
      ...headers,
      "content-type": TYPES.get(extensionOf(served)),
      "cache-control": isOurs && HASHED.test(file) ? FOR_EVER : "no-store",
      vary: "Origin, Accept-Encoding",
    });
    return send(reply, served, request.headers["accept-encoding"] ?? "");
  });

  function send(reply: FastifyReply, file: string, accepted: string): FastifyReply {
    const encoding = ENCODINGS.find(
      ({ name, suffix }) => accepts(accepted, name) && names.has(file + suffix),
    );
    if (encoding === undefined) return reply.send(read(file));
    reply.header("content-encoding", encoding.name);
    return reply.send(read(file + encoding.suffix));
  }

  return entries;
}

function listFolder(folder: URL): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Each file is read at its first request. */
function createReader(folder: URL): (file: string) => Buffer {
  const read = new Map<string, Buffer>();
  return (file) => {
    const content = read.get(file) ?? readFileSync(new URL(file, folder));
    read.set(file, content);
    return content;
  };
}

function entryInsteadOf(file: string, { script, style }: ClientAssets): string | undefined {
  if (/^main-[A-Z0-9]{1,32}\.js$/.test(file)) return script;
  return /^client-[A-Z0-9]{1,32}\.css$/.test(file) ? style : undefined;
}

function extensionOf(file: string): string {
  return file.slice(file.lastIndexOf(".") + 1);
}

/** RFC 9110 §12.5.3: a coding is accepted if it is listed and its weight is not 0. */
function accepts(header: string, coding: string): boolean {
  return header.split(",", 32).some((part) => {
    const [name = "", ...parameters] = part.split(";", 4).map((text) => text.trim().toLowerCase());
    return name === coding && !parameters.some((text) => /^q=0(\.0{0,3})?$/.test(text));
  });
}
