/** Between the sign-in and the workspace: what is waited for, and what happens next. */
import type { JSX } from "preact";
import type { WaitingScreen, WaitingStep } from "../model/app.ts";
import { Page } from "./page.tsx";

const TEXTS: Readonly<Record<WaitingStep, { readonly now: string; readonly next: string }>> = {
  key: {
    now: "Making your encryption key…",
    next: "This takes a few seconds. The key stays in this browser, so that only the people of the session can read what you share.",
  },
  server: { now: "Contacting the server…", next: "This should take a moment only." },
  "host-decides": {
    now: "Waiting for the host to let you in…",
    next: "The host sees your name and decides. Keep this page open: you are in as soon as they allow it. After 5 minutes without an answer you can ask again.",
  },
  connecting: { now: "Connecting…", next: "You are let in. This should take a moment only." },
  workspace: {
    now: "Loading the workspace…",
    next: "You are in. The host’s side sends the list of files.",
  },
};

export function Waiting({ screen }: { screen: WaitingScreen }): JSX.Element {
  const { now, next } = TEXTS[screen.step.value];
  return (
    <Page title={screen.purpose === "join" ? "Joining the session" : "Starting your session"}>
      <div class="waiting" role="status">
        <div class="progress" aria-hidden="true">
          <span />
        </div>
        <p class="now">{now}</p>
        <p class="muted">{next}</p>
      </div>
      <div class="buttons start">
        <button type="button" class="button" onClick={() => screen.cancel()}>
          Cancel
        </button>
      </div>
    </Page>
  );
}
