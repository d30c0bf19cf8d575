/**
 * The way into a session over HTTP: signing in, creating and joining, by the protocol package's `ConnectionProvider`. Its
 * errors become reasons that the page can explain.
 */
import { type AuthMetadata, ConnectionProvider, ServerError } from "open-collaboration-protocol";
import type { FailureReason } from "../model/app.ts";
import { sleep } from "./timing.ts";

export class JoinError extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "JoinError";
    this.reason = reason;
  }
}

/** Polls are repeated for this long. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 1000;

export type Entrance = ReturnType<typeof createEntrance>;

/** Resolves with whether the user could be sent to the sign-in; polling for its end goes on. */
export type SignInForm = (token: string, metadata: AuthMetadata) => Promise<boolean>;

/** `userToken`: of an earlier sign-in. */
export function createEntrance(baseUrl: string, userToken: string | undefined) {
  let show: SignInForm | undefined;
  const provider = new ConnectionProvider({
    url: baseUrl,
    client: "CodeTogether edge web client",
    fetch: (url, options) => patientFetch(url, { ...options, credentials: "omit" } as RequestInit),
    authenticationHandler: async (token, metadata) => (await show?.(token, metadata)) ?? false,
    transports: [],
    ...(userToken !== undefined && { userToken }),
  });

  return {
    /** Whether the token that was given, or was got by `signIn`, is valid. Rejects with `JoinError` when it cannot be asked. */
    async isSignedIn(): Promise<boolean> {
      if (provider.authToken === undefined) return false;
      // The package takes a server that does not respond for a refusal.
      await explained(checkReachable(baseUrl));
      return provider.validate();
    },
    /**
     * Signs a user in: `show` offers the methods to the user and submits the chosen one. Resolves with the user's token.
     * Rejects with `JoinError`; "timeout" when nobody signed in for 5 minutes.
     */
    async signIn(form: SignInForm, signal: AbortSignal): Promise<string> {
      show = form;
      const token = await explained(provider.login({ abortSignal: signal }));
      if (token === undefined) throw new JoinError("failed", "The server sent no token.");
      return token;
    },
    create: (signal: AbortSignal) => explained(provider.createRoom({ abortSignal: signal })),
    /** Resolves when the host has accepted; `onWaiting`: the host is being asked. */
    join: (roomId: string, signal: AbortSignal, onWaiting: () => void) =>
      explained(
        provider.joinRoom({
          roomId,
          abortSignal: signal,
          reporter: ({ code }) => {
            if (code === "WaitingForHost") onWaiting();
          },
        }),
      ),
  };
}

/**
 * A poll is repeated while the server cannot be reached, as when a laptop changes its network: the sign-in, or the request
 * to join, is still there.
 */
async function patientFetch(url: string, options: RequestInit): Promise<Response> {
  const untilMs = performance.now() + (/\/poll\//.test(url) ? PATIENCE_MS : 0);
  for (;;) {
    try {
      return await fetch(url, options);
    } catch (error) {
      const isFinal = options.signal?.aborted === true || performance.now() >= untilMs;
      if (isFinal) throw error;
      await sleep(RETRY_MS);
    }
  }
}

async function checkReachable(baseUrl: string): Promise<void> {
  const response = await fetch(`${baseUrl}/api/meta`, { credentials: "omit" });
  if (!response.ok) throw new TypeError(`the server responded with status ${response.status}`);
}

const REASONS: Readonly<Record<string, FailureReason>> = {
  RoomNotFound: "not-found",
  JoinRequestNotFound: "timeout",
  JoinRejected: "rejected",
  JoinTimeout: "timeout",
  AuthTimeout: "timeout",
  RoomFull: "full",
  SessionQuota: "quota",
  License: "license",
  InvalidServerVersion: "incompatible",
  IncompatibleProtocolVersions: "incompatible",
  StoreAway: "unreachable",
};

async function explained<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw explain(error);
  }
}

function explain(error: unknown): JoinError {
  if (error instanceof JoinError) return error;
  if (error instanceof ServerError) {
    return new JoinError(REASONS[error.code] ?? "failed", error.message, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  // `fetch` rejects with a TypeError when there is no response.
  if (error instanceof TypeError) return new JoinError("unreachable", message, { cause: error });
  // Without a valid token the package starts a sign-in, which has no form here and is aborted.
  const isUnsigned = error instanceof DOMException && error.name === "AbortError";
  if (isUnsigned || /forbidden/i.test(message))
    return new JoinError("forbidden", message, { cause: error });
  return new JoinError("failed", message, { cause: error });
}
