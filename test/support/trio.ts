/** A session of three raw peers on WebSockets, one of them behind a valve, for what the others notice of its faults. */
import { expect } from "vitest";
import { isJoinRequest, rawPeer } from "../worker/sessions/fixture.ts";
import type { RawPeer } from "../worker/sessions/raw-peer.ts";
import { createApi } from "./counted/api.ts";
import { until } from "./until.ts";
import { openValve, type Valve } from "./valve.ts";

export interface Trio {
  readonly sessionId: string;
  readonly host: RawPeer;
  readonly guest: RawPeer;
  /** The one behind the valve. */
  readonly faulty: RawPeer;
  readonly valve: Valve;
  /** Host and guest send each other messages, and all that they ever sent this way has arrived once and in order. */
  talk(this: void): Promise<void>;
  /** The faulty one has a connection, and messages go between it and the host. */
  faultyIsIn(this: void, timeoutMs?: number): Promise<void>;
}

const TALKS = 20;

/** `port`: where connections go, also those after a reconnect. */
export async function openTrio(port: () => number): Promise<Trio> {
  const [line, valve] = [await openValve(port), await openValve(port)];
  async function enter(url: string, roomToken: string): Promise<RawPeer> {
    const options = { reconnectionDelay: 100, reconnectionDelayMax: 500 };
    return rawPeer({ url, roomToken, transports: ["websocket"], options }).ready();
  }

  const api = createApi(line.url);
  await api.signIn("Somebody");
  const { roomId, roomToken } = await api.create();
  const host = await enter(line.url, roomToken);
  host.socket.on("message", () => {
    const request = host.received.at(-1);
    if (request !== undefined && isJoinRequest(request)) host.decide(request, true);
  });
  const guest = await enter(line.url, await api.join(roomId));
  const faulty = await enter(valve.url, await api.join(roomId));
  const ids = { host: host.id, guest: guest.id, faulty: faulty.id };
  let said = 0;
  let greetings = 0;

  const talks = ({ received }: RawPeer): string[] =>
    received.flatMap(({ content }) => {
      const text = content instanceof Uint8Array ? Buffer.from(content).toString("latin1") : "";
      return text.startsWith("talk ") ? [text] : [];
    });

  return {
    sessionId: roomId,
    host,
    guest,
    faulty,
    valve,
    async talk() {
      for (let count = 0; count < TALKS; count++, said++) {
        host.notify(ids.guest, `talk ${said}`);
        guest.notify(ids.host, `talk ${said}`);
      }
      const all = Array.from({ length: said }, (_, index) => `talk ${index}`);
      await until(
        "both have all messages",
        () => talks(host).length >= said && talks(guest).length >= said,
        30_000,
      ).catch(() => {});
      expect(talks(host)).toEqual(all);
      expect(talks(guest)).toEqual(all);
    },
    async faultyIsIn(timeoutMs = 30_000) {
      const text = `hello ${greetings++}`;
      await until("the faulty client is connected", () => faulty.socket.connected, timeoutMs);
      host.notify(ids.faulty, text);
      faulty.notify(ids.host, text);
      const hears = (peer: RawPeer) => peer.contents("notification").includes(text);
      await until(
        "the faulty client takes part",
        () => hears(host) && hears(faulty),
        timeoutMs,
      ).catch((cause: unknown) => {
        const seen = { host: hears(host), faulty: hears(faulty), ended: faulty.disconnects };
        throw new Error(`the faulty client: ${JSON.stringify(seen)}`, { cause });
      });
      expect(faulty.id).toBe(ids.faulty);
    },
  };
}
