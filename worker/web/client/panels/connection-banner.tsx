/** Says that the connection is interrupted, that nothing is lost, and what happens next. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { Session } from "../model/session.ts";
import { formatCountdown } from "./controls/format.ts";

export function ConnectionBanner({ session }: { session: Session }): JSX.Element {
  const connection = session.connection.value;
  return (
    <div class="connection-banner" role="status">
      {connection.state === "reconnecting" && (
        <p>
          <span class="spinner" />
          Connection lost. Your text is kept; trying again…
          <Countdown untilMs={connection.untilMs} />
        </p>
      )}
      {connection.state === "rejoining" && (
        <p>
          <span class="spinner" />
          {connection.isWaitingForHost
            ? "You were away for a while, so the host is asked to let you in again. Your text is kept."
            : "You were away for a while. Returning to the session; your text is kept."}
        </p>
      )}
    </div>
  );
}

/** Not read aloud: it changes each second. */
function Countdown({ untilMs }: { untilMs: number }): JSX.Element {
  const left = useSignal(untilMs - performance.now());
  useEffect(() => {
    const update = (): void => {
      left.value = untilMs - performance.now();
    };
    update();
    const timer = setInterval(update, 1_000);
    return () => clearInterval(timer);
  }, [untilMs, left]);
  return (
    <span class="countdown" aria-hidden="true">
      {formatCountdown(left.value)}
    </span>
  );
}
