/** What the host sends to guests. */
import type { JSX } from "preact";
import type { Session } from "../model/session.ts";
import { CopyField } from "./controls/copy.tsx";
import { Icon } from "./controls/icon.tsx";
import { PopoverButton } from "./controls/popover.tsx";

export function InviteButton({ session }: { session: Session }): JSX.Element {
  return (
    <PopoverButton label="Invite" icon="invite" className="button primary" title="Invite people">
      <Invitation session={session} />
    </PopoverButton>
  );
}

function Invitation({ session }: { session: Session }): JSX.Element {
  const { invitation, roomId, meetingUrl, isHost } = session;
  return (
    <div class="invitation">
      <p class="muted">
        Send the link. It opens in any browser, and in an IDE with the plugin.{" "}
        {isHost ? "You decide about each person who asks to join." : "The host decides who joins."}
      </p>
      <CopyField label="Link" text={invitation} isPrimary />
      <CopyField label="Code" text={roomId} />
      {meetingUrl !== undefined && (
        <p>
          <a class="with-icon" href={meetingUrl} target="_blank" rel="noopener noreferrer">
            <Icon name="video" />
            Open the meeting
          </a>
        </p>
      )}
    </div>
  );
}
