/** Sessions of the product over a link: the worker's whole server behind a balancer's data path. */
import { expect, test } from "vitest";
import { startRig } from "../balancer/rig.ts";
import { createRandom } from "../fuzz/random.ts";
import { until } from "../support/until.ts";
import { startWorker } from "../worker/api/fixture.ts";
import {
  HOST_USER,
  isJoinRequest,
  joinAnswer,
  rawPeer,
  requestJoin,
} from "../worker/sessions/fixture.ts";
import type { RawPeer } from "../worker/sessions/raw-peer.ts";
import { KEYS } from "../worker/worker-parts.ts";
import { linkTargets } from "./accept-links.ts";

const GUESTS = 4;
const MESSAGES = 150;

test.each(["websocket", "polling"] as const)(
  "messages of all sizes reach each peer of a session in order over one link, by %s",
  async (transport) => {
    const worker = await startWorker();
    const rig = await startRig({
      workers: [worker.record],
      edgeKey: KEYS.edge,
      linkTarget: linkTargets({ edgeKey: KEYS.edge }),
      probe: { async ask() {} },
    });
    const links = rig.path.router.upstreams[0]?.links;
    await until("the link is open", () => links?.state === "open");
    const connect = (roomToken: string): Promise<RawPeer> =>
      rawPeer({
        url: `http://127.0.0.1:${rig.port}`,
        roomToken,
        transports: [transport],
      }).ready();

    const created = await worker.registry.create(HOST_USER);
    if (created.outcome !== "created") throw new Error(created.outcome);
    const host = await connect(created.roomToken);
    const guests: RawPeer[] = [];
    for (let count = 0; count < GUESTS; count++) {
      const pollToken = await requestJoin(worker.registry, created.sessionId);
      const request = await until("the host is asked", () =>
        host.received.filter(isJoinRequest).at(count),
      );
      host.decide(request, true);
      const answer = await joinAnswer(worker.store, pollToken);
      if (!answer.accepted) throw new Error(answer.code);
      guests.push(await connect(answer.roomToken));
    }

    const random = createRandom(1, 1);
    const ids = guests.map(({ id }) => id);
    const sent = Array.from({ length: MESSAGES }, (_, index) => {
      const size = random.pick([10, 100, 1000, 16_300, 16_400, 70_000]);
      return `${index} ${"m".repeat(random.below(size))}`;
    });
    for (const [index, text] of sent.entries()) {
      host.broadcast(text, ids);
      guests[index % GUESTS]?.notify(host.id, text);
      if (index % 20 === 19) {
        await until("it has arrived", () => guests[0]?.contents("broadcast").length === index + 1);
      }
    }
    for (const guest of guests) {
      await until("all have arrived", () => guest.contents("broadcast").length === MESSAGES);
      expect(guest.contents("broadcast")).toEqual(sent);
    }
    await until("all have arrived", () => host.contents("notification").length === MESSAGES);
    for (let guest = 0; guest < GUESTS; guest++) {
      const own = (text: string): boolean => Number(text.split(" ", 1)[0]) % GUESTS === guest;
      expect(host.contents("notification").filter(own)).toEqual(sent.filter(own));
    }
    expect(links?.links).toBe(1);
    expect(links?.counts.errors).toBe(0);
    expect(links?.counts.bytesIn).toBeGreaterThan(GUESTS * sent.join("").length);
    expect(rig.bugs).toEqual([]);
  },
);
