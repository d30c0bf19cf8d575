/** Those who ask to join, shown to the host above all else: someone waits for an answer. */
import type { JSX } from "preact";
import type { JoinRequest, Session } from "../model/session.ts";
import { Icon } from "./controls/icon.tsx";

export function JoinRequests({ session }: { session: Session }): JSX.Element {
  const requests = session.joinRequests.value;
  return (
    <section class="join-requests" aria-label="Requests to join" aria-live="polite">
      {requests.map((request) => (
        <Request key={request.id} request={request} />
      ))}
    </section>
  );
}

function Request({ request }: { request: JoinRequest }): JSX.Element {
  const { name } = request;
  return (
    <div class="join-request">
      <span class="request-icon">
        <Icon name="enter" />
      </span>
      <div class="request-text">
        <p>
          <strong>
            <bdi>{name}</bdi>
          </strong>{" "}
          asks to join
        </p>
        <p class="muted">{identityOf(request)}</p>
      </div>
      <div class="buttons">
        <button
          type="button"
          class="button"
          aria-label={`Refuse ${name}`}
          onClick={() => request.decide(false)}
        >
          Refuse
        </button>
        <button
          type="button"
          class="button primary"
          aria-label={`Allow ${name}`}
          onClick={() => request.decide(true)}
        >
          Allow
        </button>
      </div>
    </div>
  );
}

/** As servers call a sign-in by a name that nobody checks. */
const UNVERIFIED = "Unverified";

/** What the host can base the decision on: a name alone is only what its owner entered. */
function identityOf({ email, signedInBy }: JoinRequest): string {
  const isVerified = signedInBy !== undefined && signedInBy !== UNVERIFIED;
  if (!isVerified) return "Anyone can enter this name: nobody has verified it.";
  const parts = [email, `signed in by ${signedInBy}`].filter(Boolean);
  return parts.join(", ");
}
