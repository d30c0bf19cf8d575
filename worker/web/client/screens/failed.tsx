/** Why a session could not be joined or started, and what to do. */
import type { JSX } from "preact";
import type { FailedScreen, FailureReason } from "../model/app.ts";
import { Page } from "./page.tsx";

interface Text {
  readonly title: string;
  readonly text: string;
}

const TEXTS: Readonly<Record<FailureReason, Text>> = {
  "not-found": {
    title: "There is no such session",
    text: "It is over, or a part of the link is missing. Ask the host for a new invitation.",
  },
  rejected: {
    title: "The host did not let you in",
    text: "Ask them by another way first, then try again.",
  },
  timeout: {
    title: "The host did not answer",
    text: "They may be away from their computer. Tell them that you are waiting, and ask again.",
  },
  full: {
    title: "The session is full",
    text: "No more people can join at the moment. Ask the host, or try again when someone has left.",
  },
  quota: {
    title: "The server is at its limit",
    text: "It accepts no more sessions or people at the moment. Try again later, or ask its operator.",
  },
  license: {
    title: "The server’s license does not allow it",
    text: "All its seats are in use, or the license has expired. Ask the operator of this server.",
  },
  forbidden: {
    title: "You may not do this here",
    text: "The server does not allow it to you. Sign in another way, or ask its operator.",
  },
  unreachable: {
    title: "The server cannot be reached",
    text: "Check your connection, then try again. If it goes on, ask the operator of this server.",
  },
  incompatible: {
    title: "The versions do not fit",
    text: "The host uses another version of the protocol. Reload this page; if that does not help, the host should update the plugin.",
  },
  failed: {
    title: "That did not work",
    text: "Try again. If it goes on, tell the operator of this server what you see here.",
  },
};

const HOST_TEXTS: Partial<Readonly<Record<FailureReason, Text>>> = {
  forbidden: {
    title: "You may not start sessions here",
    text: "You can join those of others. To host one, sign in another way, or ask the operator of this server.",
  },
};

export function Failed(props: { screen: FailedScreen; onHome: () => void }): JSX.Element {
  const { reason, message, purpose, retry } = props.screen;
  const { title, text } = (purpose === "host" && HOST_TEXTS[reason]) || TEXTS[reason];
  return (
    <Page title={title} lead={text}>
      {message !== undefined && (
        <p class="said">
          <span class="muted">The server says:</span> {message}
        </p>
      )}
      <div class="buttons start">
        {retry && (
          <button type="button" class="button primary" onClick={retry}>
            {reason === "timeout" || reason === "rejected" ? "Ask again" : "Try again"}
          </button>
        )}
        <button type="button" class={retry ? "button" : "button primary"} onClick={props.onHome}>
          Home
        </button>
      </div>
    </Page>
  );
}
