/**
 * Many teams of a host and a guest at low cost: socket.io's client with made-up contents instead of encrypted ones, so that one
 * process can run thousands of clients without becoming the bottleneck. They send each other numbered messages.
 */
import { Agent, request } from "undici";
import { RawPeer } from "../worker/sessions/raw-peer.ts";
import { closeAtEnd } from "./at-end.ts";
import { until } from "./until.ts";

export interface LightPeer {
  readonly peer: RawPeer;
  readonly spoken: string[];
  /** Each time at which it was admitted to its session, on `performance.now()`. */
  readonly servedMs: number[];
  readonly lostMs: number[];
}

export interface LightTeam {
  readonly sessionId: string;
  readonly host: LightPeer;
  readonly guest: LightPeer;
  /** Sends the next number to the other peer. */
  say(speaker: "host" | "guest"): void;
}

export interface LightTeams {
  readonly teams: readonly LightTeam[];
  readonly peers: readonly LightPeer[];
  /** Each client sends a message once in `periodMs`, one after the other. */
  startTalking(periodMs: number): void;
  stopTalking(): void;
  /** Faults of the received messages: lost, duplicated or reordered. */
  misheard(): string[];
  close(): Promise<void>;
}

const AT_ONCE = 4;

/** Opens the teams at the edge at `url`; each host approves its guest. */
export async function openLightTeams(url: string, count: number): Promise<LightTeams> {
  const agent = new Agent();
  const teams: LightTeam[] = [];
  let opened = 0;
  let spokenCount = 0;
  const [hostJwt, guestJwt] = [await signIn("Host"), await signIn("Guest")];

  async function post<T>(
    path: string,
    { jwt, form }: { jwt?: string; form?: unknown },
  ): Promise<T> {
    const response = await request(url + path, {
      method: "POST",
      dispatcher: agent,
      headers: {
        ...(jwt !== undefined && { "x-oct-jwt": jwt }),
        ...(form !== undefined && { "content-type": "application/json" }),
      },
      ...(form !== undefined && { body: JSON.stringify(form) }),
    });
    const text = await response.body.text();
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode} ${text}`);
    return (text.startsWith("{") ? JSON.parse(text) : text) as T;
  }

  async function signIn(user: string): Promise<string> {
    const { pollToken } = await post<{ pollToken: string }>("/api/login/initial", {});
    await post("/api/login/simple", { form: { token: pollToken, user } });
    return (await post<{ loginToken: string }>(`/api/login/poll/${pollToken}`, {})).loginToken;
  }

  async function enter(roomToken: string): Promise<LightPeer> {
    const peer = new RawPeer({ url, roomToken });
    const light: LightPeer = { peer, spoken: [], servedMs: [], lostMs: [] };
    peer.socket.on("connect", () => light.servedMs.push(performance.now()));
    peer.socket.on("disconnect", () => light.lostMs.push(performance.now()));
    await peer.ready();
    return light;
  }

  async function openTeam(): Promise<LightTeam> {
    const created = await post<{ roomId: string; roomToken: string }>("/api/session/create", {
      jwt: hostJwt,
    });
    const host = await enter(created.roomToken);
    host.peer.socket.on("message", () => {
      const message = host.peer.received.at(-1);
      const { method } = (message?.content ?? {}) as { method?: string };
      if (message?.kind === "request" && method === "peer/join") host.peer.decide(message, true);
    });
    const { pollToken } = await post<{ pollToken: string }>(`/api/session/join/${created.roomId}`, {
      jwt: guestJwt,
    });
    const guest = await enter(await untilAccepted(pollToken));
    return {
      sessionId: created.roomId,
      host,
      guest,
      say(speaker) {
        const [from, to] = speaker === "host" ? [host, guest] : [guest, host];
        const text = `#${spokenCount++}`;
        from.spoken.push(text);
        from.peer.broadcast(text, [to.peer.id]);
      },
    };
  }

  async function untilAccepted(pollToken: string): Promise<string> {
    for (;;) {
      // Until then each poll reports that the host was asked.
      const status = await post<{ roomToken?: string }>(`/api/session/poll/${pollToken}`, {
        jwt: guestJwt,
      });
      if (status.roomToken !== undefined) return status.roomToken;
    }
  }

  async function openNext(): Promise<void> {
    while (opened < count) {
      opened++;
      teams.push(await openTeam());
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, openNext));
  await agent.close();

  const peers = teams.flatMap(({ host, guest }) => [host, guest]);
  let talking: NodeJS.Timeout | undefined;
  let turn = 0;
  return closeAtEnd({
    teams,
    peers,
    startTalking(periodMs) {
      talking = setInterval(
        () => {
          // Several at once if necessary, because a timer fires at most once per millisecond.
          for (let i = 0; i < Math.max(1, peers.length / periodMs); i++) {
            teams[Math.floor(turn / 2) % teams.length]?.say(turn % 2 === 0 ? "host" : "guest");
            turn++;
          }
        },
        Math.max(1, periodMs / peers.length),
      );
    },
    stopTalking: () => clearInterval(talking),
    misheard: () =>
      teams.flatMap(({ sessionId, host, guest }) =>
        [
          [host, guest],
          [guest, host],
        ]
          .filter(
            ([speaker, hearer]) =>
              hearer?.peer.contents("broadcast").join() !== speaker?.spoken.join(),
          )
          .map(([speaker]) => `${sessionId}: ${speaker === host ? "host" : "guest"} was misheard`),
      ),
    async close() {
      clearInterval(talking);
      for (const { peer } of peers) peer.close();
      await until("all clients are disconnected", () =>
        peers.every(({ peer }) => !peer.socket.connected),
      );
    },
  });
}
