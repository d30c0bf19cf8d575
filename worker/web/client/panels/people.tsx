/** The people of a session: who they are, which file they look at, and a click follows them. */
import type { JSX } from "preact";
import { nameOf } from "../files/paths.ts";
import type { Person, Session } from "../model/session.ts";
import { CopyButton } from "./controls/copy.tsx";
import { initialsOf } from "./controls/format.ts";
import { Icon } from "./controls/icon.tsx";
import { EditSwitch } from "./edit-switch.tsx";

const MOST_FACES = 4;

export function Avatar({ person }: { person: Person }): JSX.Element {
  return (
    // By the style sheet: the letters are no text of the control around them.
    <span class={`avatar caret-${person.color}`} data-initials={initialsOf(person.name)} />
  );
}

export function PeoplePanel({ session }: { session: Session }): JSX.Element {
  const self = session.self.value;
  const people = session.people.value;
  return (
    <section class="people" aria-label="People">
      <div class="panel-head">
        <h2>People</h2>
        <span class="muted">{people.length + 1}</span>
      </div>
      <ul>
        {self && (
          <li class="person">
            <Avatar person={self} />
            <PersonText person={self} note="you" />
          </li>
        )}
        {people.map((person) => (
          <li key={person.id}>
            <FollowButton session={session} person={person} />
          </li>
        ))}
      </ul>
      {session.isHost && (
        <div class="narrow-only">
          <EditSwitch session={session} />
        </div>
      )}
      {people.length === 0 && (
        <div class="hint">
          <p class="muted">Nobody else is here yet.</p>
          {session.tabs.active.value && (
            <CopyButton label="Copy the invitation" text={session.invitation} />
          )}
        </div>
      )}
    </section>
  );
}

function FollowButton({ session, person }: { session: Session; person: Person }): JSX.Element {
  const isFollowed = session.following.value === person.id;
  return (
    <button
      type="button"
      class="person"
      aria-pressed={isFollowed}
      title={isFollowed ? `Stop following ${person.name}` : `Follow ${person.name}`}
      onClick={() => session.follow(isFollowed ? undefined : person.id)}
    >
      <Avatar person={person} />
      <PersonText person={person} note={undefined} />
      <span class="follow">
        <Icon name="eye" />
        <span>{isFollowed ? "Following" : "Follow"}</span>
      </span>
    </button>
  );
}

function PersonText({ person, note }: { person: Person; note: string | undefined }): JSX.Element {
  const { name, isHost, path } = person;
  return (
    <span class="person-text">
      <span class="person-name">
        <bdi class="name">{name}</bdi>
        {note !== undefined && <span class="muted">({note})</span>}
        {isHost && <span class="tag">Host</span>}
      </span>
      <span class="muted name" title={path}>
        {path === undefined ? "No file open" : nameOf(path)}
      </span>
    </span>
  );
}

/** The others in the top bar; a click follows. */
export function Faces({ session }: { session: Session }): JSX.Element {
  const people = session.people.value;
  const others = people.length - MOST_FACES;
  return (
    <ul class="faces" aria-label="Others in the session">
      {people.slice(0, MOST_FACES).map((person) => {
        const isFollowed = session.following.value === person.id;
        return (
          <li key={person.id}>
            <button
              type="button"
              class="face"
              aria-pressed={isFollowed}
              aria-label={`Follow ${person.name}`}
              title={isFollowed ? `Stop following ${person.name}` : `Follow ${person.name}`}
              onClick={() => session.follow(isFollowed ? undefined : person.id)}
            >
              <Avatar person={person} />
            </button>
          </li>
        );
      })}
      {others > 0 && (
        <li class="muted">
          +{others}
          <span class="for-readers"> more</span>
        </li>
      )}
    </ul>
  );
}

/** Around the editor while another person's place is followed. */
export function FollowFrame({ session }: { session: Session }): JSX.Element | null {
  const person = session.people.value.find((one) => one.id === session.following.value);
  if (!person) return null;
  return (
    <div class={`follow-frame caret-${person.color}`}>
      <div class="follow-label" role="status">
        <span>
          Following <bdi>{person.name}</bdi>
        </span>
        <button type="button" onClick={() => session.follow(undefined)}>
          Stop
        </button>
      </div>
    </div>
  );
}
