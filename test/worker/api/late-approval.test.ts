/**
 * Guests whose host takes longer to decide than a long poll lasts, with each of the published protocol packages: those
 * before 0.3.3 give up after any response that is not JSON.
 */
import { expect, test } from "vitest";
import { person } from "../../support/people.ts";
import { PROTOCOL_PACKAGES } from "../../support/protocols.ts";
import { until } from "../../support/until.ts";
import { pollsWait, startWorker, type Worker } from "./fixture.ts";

/** Instead of 30 s. */
const POLL_MS = 200;

type Package = (typeof PROTOCOL_PACKAGES)[number];

/** A host who accepts when `approve` is called, and a guest who requests to join and records each WaitingForHost. */
async function askToJoin(worker: Worker, protocol: Package) {
  const host = person({ baseUrl: worker.url, protocol, name: "Host" });
  let approve = (): void => {};
  const approved = new Promise<"approve">((resolve) => {
    approve = () => resolve("approve");
  });
  host.decide = () => approved;
  const sessionId = await host.host();
  const guest = person({ baseUrl: worker.url, protocol, name: "Guest" });
  await guest.login();
  const waitingMs: number[] = [];
  const joining = guest.provider.joinRoom({
    roomId: sessionId,
    reporter({ code }) {
      if (code === "WaitingForHost") waitingMs.push(performance.now());
    },
  });
  // Awaited at the end; until then its failure must not end the test's process.
  joining.catch(() => {});
  const enter = async (): Promise<void> => {
    const { roomToken, host: hostPeer } = await joining;
    await guest.enter(roomToken, hostPeer);
  };
  return { host, guest, waitingMs, approve: () => approve(), enter };
}

test.each(PROTOCOL_PACKAGES)(
  "a guest with package %s whom the host accepts after several long polls joins the session",
  async (protocol) => {
    const worker = await startWorker({ pollTimeoutMs: POLL_MS });
    const { host, guest, waitingMs, approve, enter } = await askToJoin(worker, protocol);
    await until("several long polls are over", () => waitingMs.length >= 5);
    approve();
    await enter();
    await until("the host sees the guest", () => host.joined.length === 1);
    expect(guest.inits).toHaveLength(1);
    // The first poll ends at once, each later one after its timeout.
    const [, second, ...later] = waitingMs;
    expect((later.at(-1) ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(
      later.length * (POLL_MS - 20),
    );
  },
);

test.each(PROTOCOL_PACKAGES)(
  "a guest with package %s who waits on a draining worker polls about once a second, and joins the session",
  async (protocol) => {
    const worker = await startWorker();
    const { guest, waitingMs, approve, enter } = await askToJoin(worker, protocol);
    await until("it gets WaitingForHost", () => waitingMs.length === 1);
    await pollsWait(worker, 1);
    worker.api.shortenPolls();
    await until("it has polled four times", () => waitingMs.length === 4);
    const [, second, ...later] = waitingMs;
    expect((later.at(-1) ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(later.length * 990);
    approve();
    await enter();
    expect(guest.inits).toHaveLength(1);
  },
);
