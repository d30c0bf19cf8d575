/** After a session: why it is over, the texts that this page still has, and the ways on. */
import type { JSX } from "preact";
import type { EndedScreen } from "../model/app.ts";
import type { EndReason } from "../model/session.ts";
import { count } from "../panels/controls/format.ts";
import { Icon } from "../panels/controls/icon.tsx";
import { Page } from "./page.tsx";

const MOST_PATHS = 8;

export function Ended(props: { screen: EndedScreen; onHome: () => void }): JSX.Element {
  const { screen, onHome } = props;
  const { texts, rejoin, workspaceName } = screen;
  const { title, text } = textsOf(screen.reason, screen.isHost);
  return (
    <Page
      title={title}
      lead={
        <>
          <bdi>{workspaceName}</bdi>: {text}
        </>
      }
    >
      {texts.length > 0 && (
        <section class="texts" aria-label="Texts of the session">
          <p>
            This page still has {count(texts.length, "text")} as you saw{" "}
            {texts.length === 1 ? "it" : "them"} last. {texts.length === 1 ? "It is" : "They are"}{" "}
            gone when you close the page.
          </p>
          <ul>
            {texts.slice(0, MOST_PATHS).map(({ path }) => (
              <li key={path} class="name">
                {path}
              </li>
            ))}
            {texts.length > MOST_PATHS && <li>and {texts.length - MOST_PATHS} more</li>}
          </ul>
          <button type="button" class="button" onClick={() => screen.download()}>
            <Icon name="download" />
            Download as zip
          </button>
        </section>
      )}
      <div class="buttons start">
        {rejoin && (
          <button type="button" class="button primary" onClick={rejoin}>
            {screen.isHost ? "Open it again" : "Join again"}
          </button>
        )}
        <button type="button" class={rejoin ? "button" : "button primary"} onClick={onHome}>
          Home
        </button>
      </div>
    </Page>
  );
}

function textsOf(reason: EndReason, isHost: boolean): { title: string; text: string } {
  if (typeof reason === "object") {
    const title = isHost ? "The session is over" : "You are no longer in the session";
    return { title, text: reason.serverSays };
  }
  switch (reason) {
    case "left":
      return isHost
        ? { title: "You ended the session", text: "the invitation no longer works." }
        : { title: "You left the session", text: "what you wrote stays with the others." };
    case "closed":
      return {
        title: "The session is over",
        text: "the host ended it, or was away too long.",
      };
    case "lost":
      return {
        title: "The session is over",
        text: "this page was without a connection too long, and the server closed the session. Start a new one to go on; nothing of your files is lost.",
      };
    case "rejected":
      return {
        title: "You are no longer in the session",
        text: "you were away for a while, and the host did not let you in again.",
      };
    case "moved":
      return {
        title: "The session is open in another tab",
        text: "it goes on there, and this page is no longer part of it.",
      };
  }
}
