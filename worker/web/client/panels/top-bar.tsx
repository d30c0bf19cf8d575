/** The bar above the workspace: what is shared, with whom, and the way out. */
import { type Signal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import type { Session } from "../model/session.ts";
import { Dialog } from "./controls/dialog.tsx";
import { count } from "./controls/format.ts";
import { Icon, type IconName } from "./controls/icon.tsx";
import { EditSwitch } from "./edit-switch.tsx";
import { InviteButton } from "./invitation.tsx";
import { Faces } from "./people.tsx";

export interface TopBarProps {
  readonly session: Session;
  readonly isTreeOpen: Signal<boolean>;
  readonly isSideOpen: Signal<boolean>;
  /** Chat messages that were not seen. */
  readonly unread: number;
}

export function TopBar({ session, isTreeOpen, isSideOpen, unread }: TopBarProps): JSX.Element {
  const { name } = session.workspace.value;
  const { isHost } = session;
  const requests = session.joinRequests.value;
  return (
    <header class="top-bar">
      <Toggle isOpen={isTreeOpen} icon="files" label="Files" badge={0} />
      <h1 class="name" tabIndex={-1} title={name}>
        {name}
      </h1>
      {isHost ? (
        <div class="wide-only">
          <EditSwitch session={session} />
        </div>
      ) : (
        session.isReadOnly.value && (
          <span
            class="tag with-icon"
            title={
              session.isReadOnlyHinted.value
                ? "This server suggests that you only read here"
                : "The host lets guests read only"
            }
          >
            <Icon name="lock" />
            <span class="label">Read-only</span>
          </span>
        )
      )}
      <div class="space" />
      <Faces session={session} />
      {session.meetingUrl !== undefined && (
        <a
          class="button quiet meeting"
          href={session.meetingUrl}
          target="_blank"
          rel="noopener noreferrer"
        >
          <Icon name="video" />
          <span class="label">Meeting</span>
        </a>
      )}
      <InviteButton session={session} />
      <Toggle
        isOpen={isSideOpen}
        icon="people"
        label="People and chat"
        badge={unread + requests.length}
      />
      <LeaveButton session={session} />
    </header>
  );
}

function Toggle(props: {
  isOpen: Signal<boolean>;
  icon: IconName;
  label: string;
  badge: number;
}): JSX.Element {
  const { isOpen, icon, label, badge } = props;
  return (
    <button
      type="button"
      class="icon-button large"
      aria-pressed={isOpen.value}
      title={label}
      onClick={() => {
        isOpen.value = !isOpen.value;
      }}
    >
      <Icon name={icon} />
      <span class="for-readers">{label}</span>
      {badge > 0 && (
        <span class="badge">
          {badge > 99 ? "99+" : badge}
          <span class="for-readers"> new</span>
        </span>
      )}
    </button>
  );
}

function LeaveButton({ session }: { session: Session }): JSX.Element {
  const isAsking = useSignal(false);
  const label = session.isHost ? "End" : "Leave";
  return (
    <>
      <button
        type="button"
        class="button quiet"
        onClick={() => {
          isAsking.value = true;
        }}
      >
        <Icon name="leave" />
        <span class="label">{label}</span>
      </button>
      {isAsking.value && (
        <LeaveDialog
          session={session}
          onClose={() => {
            isAsking.value = false;
          }}
        />
      )}
    </>
  );
}

function LeaveDialog({ session, onClose }: { session: Session; onClose: () => void }): JSX.Element {
  const { isHost, people, tabs } = session;
  const others = people.value.length;
  const unsaved = tabs.tabs.value.filter((tab) => tab.save.value.state !== "saved");
  if (!isHost) {
    return (
      <Dialog
        title="Leave the session?"
        actLabel="Leave"
        cancelLabel="Stay"
        act={() => session.leave()}
        onClose={onClose}
      >
        <p>What you wrote stays with the others. To return, open the same link again.</p>
      </Dialog>
    );
  }
  return (
    <Dialog
      title="End the session?"
      actLabel="End session"
      cancelLabel="Keep it open"
      isDangerous
      act={() => session.leave()}
      onClose={onClose}
    >
      <p>
        {others === 0
          ? "Nobody else is in it. The invitation stops working."
          : `It ends for ${others === 1 ? "one other person" : `${others} other people`} too, and the invitation stops working.`}{" "}
        Your files stay yours.
      </p>
      {unsaved.length > 0 && (
        <p class="warning">
          {count(unsaved.length, "file")} could not be saved yet. You can download the texts on the
          next page.
        </p>
      )}
    </Dialog>
  );
}
