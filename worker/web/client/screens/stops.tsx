/** Screens that hold a session up: something of the browser is in the way, or the user has to choose. */
import type { JSX } from "preact";
import type { Screen } from "../model/app.ts";
import { Page } from "./page.tsx";

type At<Name extends Screen["at"]> = Extract<Screen, { at: Name }>;

/** `secureUrl`: this page by https. */
export function Unsupported(props: { screen: At<"unsupported">; secureUrl: string }): JSX.Element {
  if (props.screen.problem === "browser") {
    return (
      <Page
        title="This browser is too old"
        lead="It lacks what this page needs. Update it, or open this link in a current Chrome, Edge, Firefox or Safari."
      />
    );
  }
  return (
    <Page
      title="This page needs a secure connection"
      lead="Browsers offer encryption to pages by https and on localhost only, and without it nothing can be shared safely."
    >
      <ul class="advice">
        <li>
          Try this page by https: <a href={props.secureUrl}>{props.secureUrl}</a>
        </li>
        <li>
          If that does not open, ask the operator for a certificate: the operators’ documentation
          explains it under “TLS”.
        </li>
        <li>On the machine that runs the server, open it on localhost.</li>
        <li>Or use your IDE: its plugin works without a certificate.</li>
      </ul>
    </Page>
  );
}

export function OtherTab({ screen }: { screen: At<"other-tab"> }): JSX.Element {
  return (
    <Page
      title="You are in this session already"
      lead="Another tab of this browser has it open, as the same person."
    >
      <div class="buttons start">
        <button type="button" class="button primary" onClick={() => screen.takeOver()}>
          Use it here
        </button>
        <button type="button" class="button" onClick={() => screen.joinAgain()}>
          Join as one more person
        </button>
      </div>
    </Page>
  );
}

export function FolderPermission({ screen }: { screen: At<"folder-permission"> }): JSX.Element {
  return (
    <Page
      title="Open the folder again?"
      lead={
        <>
          Your session shares <bdi>{screen.workspaceName}</bdi>. After a reload the browser asks you
          before it opens the folder again.
        </>
      }
    >
      <div class="buttons start">
        <button type="button" class="button primary" onClick={() => screen.allow()}>
          Open the folder
        </button>
        <button type="button" class="button" onClick={() => screen.cancel()}>
          Not now
        </button>
      </div>
    </Page>
  );
}

export function Starting(): JSX.Element {
  return (
    <main class="page">
      <p class="muted late" role="status">
        Loading…
      </p>
    </main>
  );
}
