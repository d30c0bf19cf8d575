/** The page in a browser that cannot take part in a session: it says so, and what to do. */
import { signal } from "@preact/signals";
import type { App } from "../model/app.ts";
import type { EdgeInfo, Place } from "../model/place.ts";

type Problem = "insecure" | "browser";

/** Undefined when the browser has what a session needs. */
export function findProblem(): Problem | undefined {
  // Browsers offer WebCrypto and locks to secure contexts only: HTTPS, or this machine itself.
  if (!globalThis.isSecureContext) return "insecure";
  const hasAll = "locks" in navigator && "BroadcastChannel" in globalThis;
  return hasAll && globalThis.crypto?.subtle !== undefined ? undefined : "browser";
}

export function unsupportedApp(place: Place, edge: EdgeInfo, problem: Problem): App {
  return {
    place,
    edge,
    screen: signal({ at: "unsupported", problem }),
    remembered: signal([]),
    isForgetful: signal(false),
    canOpenFolder: false,
    readInvitation: () => ({ outcome: "invalid" }),
    showHome() {},
    showJoin() {},
    startSession() {},
    enterAgain() {},
    forget() {},
  };
}
