/** The session's chat. All that others write is shown as text. */
import { useSignal } from "@preact/signals";
import type { JSX, TargetedKeyboardEvent } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import type { ChatLine, Session } from "../model/session.ts";
import { formatTime, listNames } from "./controls/format.ts";
import { Icon } from "./controls/icon.tsx";
import { Problem } from "./controls/problem.tsx";
import { useAction } from "./controls/use-action.ts";

/** Lines of one person within this time are one block. */
const BLOCK_MS = 5 * 60_000;
const NEAR_END_PX = 40;

export function ChatPanel({ session }: { session: Session }): JSX.Element {
  return (
    <section class="chat" aria-label="Chat">
      <div class="panel-head">
        <h2>Chat</h2>
      </div>
      <Lines session={session} />
      <Writing session={session} />
      <MessageField session={session} />
    </section>
  );
}

function Lines({ session }: { session: Session }): JSX.Element {
  const view = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const lines = session.chat.value;
  // New lines are scrolled into view, but not away from what the user reads.
  useLayoutEffect(() => {
    const isOwn = lines.at(-1)?.from === undefined;
    if (view.current && (isAtEnd.current || isOwn))
      view.current.scrollTop = view.current.scrollHeight;
  }, [lines]);
  return (
    <div
      ref={view}
      class="chat-lines"
      role="log"
      aria-label="Messages"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: keyboards scroll it
      tabIndex={0}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
      }}
    >
      {lines.length === 0 && (
        <p class="muted hint">
          Messages go to everyone in the session. They are not kept after it.
        </p>
      )}
      {lines.map((line, index) => (
        <Line key={line.id} line={line} isContinued={continues(line, lines[index - 1])} />
      ))}
    </div>
  );
}

function continues(line: ChatLine, before: ChatLine | undefined): boolean {
  return (
    before !== undefined &&
    before.from?.id === line.from?.id &&
    before.isDirect === line.isDirect &&
    line.atMs - before.atMs < BLOCK_MS
  );
}

function Line({ line, isContinued }: { line: ChatLine; isContinued: boolean }): JSX.Element {
  const { from, text, atMs, isDirect } = line;
  return (
    <div class={from ? "chat-line" : "chat-line own"}>
      {!isContinued && (
        <p class="chat-from">
          {from && <span class={`dot caret-${from.color}`} />}
          <strong class="name">{from ? <bdi>{from.name}</bdi> : "You"}</strong>
          {isDirect && <span class="tag">Only to {from ? "you" : "one person"}</span>}
          <time class="muted" dateTime={new Date(atMs).toISOString()}>
            {formatTime(atMs)}
          </time>
        </p>
      )}
      <p class="chat-text" dir="auto">
        {partsOf(text).map((part, index) =>
          part.isLink ? (
            <a key={index} href={part.text} target="_blank" rel="noopener noreferrer">
              {part.text}
            </a>
          ) : (
            part.text
          ),
        )}
      </p>
    </div>
  );
}

const URL_TEXT = /(https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]])/i;

/** Splits a message into text and web links. Nothing but http and https is ever a link. */
function partsOf(text: string): { readonly text: string; readonly isLink: boolean }[] {
  return text
    .split(URL_TEXT)
    .filter((part) => part !== "")
    .map((part) => ({ text: part, isLink: /^https?:\/\//i.test(part) && URL.canParse(part) }));
}

function Writing({ session }: { session: Session }): JSX.Element {
  const names = session.writing.value;
  return (
    <p class="chat-writing muted" aria-live="polite">
      {names.length > 0 && `${listNames(names)} ${names.length === 1 ? "is" : "are"} writing…`}
    </p>
  );
}

function MessageField({ session }: { session: Session }): JSX.Element {
  const id = useId();
  const text = useSignal("");
  const action = useAction();
  const field = useRef<HTMLTextAreaElement>(null);

  function send(): void {
    const message = text.peek().trim();
    if (message === "") return;
    // A message that was not sent stays in the field.
    action.run(
      () => session.say(message),
      () => {
        if (text.peek().trim() === message) text.value = "";
      },
    );
    field.current?.focus();
  }

  function onKeyDown(event: TargetedKeyboardEvent<HTMLTextAreaElement>): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  }

  return (
    <form
      class="chat-form"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <Problem text={action.problem.value} />
      <div class="field-row">
        <label class="for-readers" for={id}>
          Message to everyone
        </label>
        <textarea
          ref={field}
          id={id}
          rows={1}
          placeholder="Message to everyone"
          value={text.value}
          onInput={(event) => {
            text.value = event.currentTarget.value;
            action.report(undefined);
            session.noteWriting();
          }}
          onKeyDown={onKeyDown}
        />
        <button type="submit" class="button primary square" aria-label="Send" title="Send">
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}
