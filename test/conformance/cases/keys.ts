/** The session key: the same key in any spelling is routed to the same worker; different keys are different. */
import { type Case, head, played, type Subject } from "../case.ts";
import type { Stage } from "../stage.ts";

/** The port of the worker that each request reached; the requests are sent in sequence. */
async function placesOf(
  stage: Stage,
  requests: readonly string[],
): Promise<(number | undefined)[]> {
  const places: (number | undefined)[] = [];
  for (const [index, request] of requests.entries()) {
    await stage.ask(request);
    const mark = `/n${index} `;
    const connection = stage.workerConnections.find(({ all }) => all.includes(mark));
    places.push(connection?.raw.socket.localPort);
  }
  return places;
}

function ask(index: number, ...fields: string[]): string {
  return head(`GET /n${index} HTTP/1.1`, "Host: h", ...fields);
}

/** All requests of one key go to one worker, a hundred of each; the keys vary, so that this is not by chance. */
function together(
  name: string,
  source: string,
  write: (key: string) => readonly (readonly string[])[],
  more: Partial<Case> = {},
): Case {
  return played(
    name,
    source,
    async (stage) => {
      for (const key of ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]) {
        const ways = write(key);
        const offset = stage.requests.length;
        const places = await placesOf(
          stage,
          ways.map((fields, index) => ask(offset + index, ...fields)),
        ).catch(() => []);
        const first = places[0];
        stage.check(
          first !== undefined && places.every((place) => place === first),
          `key ${key} led to ${places.join(", ")}`,
        );
      }
    },
    more,
  );
}

const cases: Case[] = [
  together("a header routes repeatedly to the same worker", "policy: session key", (key) => [
    [`ctstickiness: ${key}`],
    [`ctstickiness: ${key}`],
    [`ctstickiness: ${key}`],
  ]),
  together("the header's name in any case", "RFC 9110 §5.1", (key) => [
    [`ctstickiness: ${key}`],
    [`CTSTICKINESS: ${key}`],
  ]),
  together("header and cookie are equivalent", "policy: session key", (key) => [
    [`ctstickiness: ${key}`],
    [`Cookie: ctstickiness=${key}`],
  ]),
  together("a cookie among others", "RFC 6265 §5.4", (key) => [
    [`Cookie: ctstickiness=${key}`],
    [`Cookie: a=b; ctstickiness=${key}; c=d`],
  ]),
  together("a cookie in a second field", "RFC 6265 §5.4", (key) => [
    [`Cookie: ctstickiness=${key}`],
    ["Cookie: a=b", `Cookie: ctstickiness=${key}`],
  ]),
  together(
    "a quoted cookie",
    "RFC 6265 §4.1.1",
    (key) => [[`Cookie: ctstickiness=${key}`], [`Cookie: ctstickiness="${key}"`]],
    { kind: "choice" },
  ),
  together("the header takes precedence over the cookie", "policy: session key", (key) => [
    [`ctstickiness: ${key}`],
    [`ctstickiness: ${key}`, "Cookie: ctstickiness=other1"],
    ["Cookie: ctstickiness=other2", `ctstickiness: ${key}`],
  ]),
  together(
    "the first of two cookies is used",
    "policy: session key",
    (key) => [
      [`Cookie: ctstickiness=${key}`],
      [`Cookie: ctstickiness=${key}; ctstickiness=other1`],
      [`Cookie: ctstickiness=${key}; ctstickiness=other2`],
    ],
    { kind: "choice" },
  ),
  together(
    "the first of two headers is used",
    "policy: session key",
    (key) => [
      [`ctstickiness: ${key}`],
      [`ctstickiness: ${key}`, "ctstickiness: other1"],
      [`ctstickiness: ${key}`, "ctstickiness: other2"],
    ],
    { kind: "choice" },
  ),
  together(
    "an empty header is ignored",
    "policy: session key",
    (key) => [[`Cookie: ctstickiness=${key}`], ["ctstickiness:", `Cookie: ctstickiness=${key}`]],
    { kind: "choice" },
  ),
  together("spaces around the key are not part of it", "RFC 9110 §5.5", (key) => [
    [`ctstickiness: ${key}`],
    [`ctstickiness:   ${key}  `],
  ]),
  together("a cookie with a longer name is ignored", "RFC 6265 §5.4", (key) => [
    [`Cookie: ctstickiness=${key}`],
    [`Cookie: xctstickiness=other1; ctstickiness=${key}`],
    [`Cookie: ctstickinessx=other2; ctstickiness=${key}`],
  ]),
  together("a key of 6,000 bytes", "policy: session key", (key) => {
    const long = key.repeat(1200).slice(0, 6000);
    return [[`ctstickiness: ${long}`], [`ctstickiness: ${long}`]];
  }),
  together("high bytes unchanged", "policy: session key", (key) => [
    [`ctstickiness: \xe4${key}\xff`],
    [`Cookie: ctstickiness=\xe4${key}\xff`],
  ]),
  together("Connection: ctstickiness does not remove it", "bug class: hop-by-hop abuse", (key) => [
    [`ctstickiness: ${key}`],
    [`ctstickiness: ${key}`, "Connection: ctstickiness"],
  ]),
  together("cookie values are compared as a whole", "policy: session key", (key) => [
    [`Cookie: ctstickiness=${key}==; a=b`],
    [`Cookie: ctstickiness=${key}==`],
  ]),
  played(
    "a prefix of the path is the key and is removed",
    "policy: session key, rule 3",
    async (stage) => {
      for (const key of ["alpha", "beta", "gamma", "delta"]) {
        const [byHeader, byPath] = await placesOf(stage, [
          head(`GET /n0 HTTP/1.1`, "Host: h", `ctstickiness: p-${key}`),
          head(`GET /k/p-${key}/n1 HTTP/1.1`, "Host: h"),
        ]);
        stage.check(
          byHeader === byPath && byPath !== undefined,
          `led to ${byHeader} and ${byPath}`,
        );
        await stage.close();
      }
    },
    { kind: "own" },
  ),
  played(
    "different keys are distributed over the workers",
    "policy: session key",
    async (stage) => {
      const requests = Array.from({ length: 60 }, (_, i) => ask(i, `ctstickiness: key-${i}`));
      const places = new Set(await placesOf(stage, requests));
      stage.check(places.size === 3, `60 keys reached ${places.size} of 3 workers`);
    },
  ),
  played(
    "keys that differ in their last byte are distributed too",
    "policy: session key",
    async (stage) => {
      const prefix = "k".repeat(1000);
      const requests = Array.from({ length: 60 }, (_, i) =>
        ask(i, `ctstickiness: ${prefix}${String.fromCharCode(0x21 + i)}`),
      );
      const places = new Set(await placesOf(stage, requests));
      stage.check(places.size === 3, `60 keys reached ${places.size} of 3 workers`);
    },
  ),
  played("keys are case-sensitive", "policy: session key: bytes as they are", async (stage) => {
    // At least some of thirty pairs differ.
    const requests = Array.from({ length: 60 }, (_, i) =>
      ask(i, `ctstickiness: ${i % 2 === 0 ? "KEY" : "key"}-${i >> 1}`),
    );
    const places = await placesOf(stage, requests);
    const differ = places.some((place, i) => i % 2 === 0 && place !== places[i + 1]);
    stage.check(differ, "30 pairs all led to the same worker");
  }),
  played("requests without a key are distributed", "policy: session key", async (stage) => {
    const requests = Array.from({ length: 60 }, (_, i) => ask(i));
    const places = new Set(await placesOf(stage, requests));
    stage.check(places.size === 3, `60 requests reached ${places.size} of 3 workers`);
  }),
  played(
    "each request of a connection is routed by its own key",
    "policy: session key: per request",
    async (stage) => {
      const client = await stage.client();
      const alone = await placesOf(
        stage,
        Array.from({ length: 20 }, (_, i) => ask(i, `ctstickiness: mine-${i}`)),
      );
      stage.check(new Set(alone).size === 3, "20 keys do not reach all workers");
      await stage.close();
      const again = await stage.client();
      client.socket.destroy();
      const places: (number | undefined)[] = [];
      for (let i = 0; i < 20; i++) {
        again.text = "";
        again.write(ask(i, `ctstickiness: mine-${i}`));
        await stage.answersCome(again, 1);
        const mark = `/n${i} `;
        places.push(
          stage.workerConnections.find(({ all }) => all.includes(mark))?.raw.socket.localPort,
        );
      }
      stage.check(String(places) === String(alone), "a key led elsewhere on a shared connection");
    },
  ),
];

export const keys: Subject = { name: "the session key:", workers: 3, cases };
