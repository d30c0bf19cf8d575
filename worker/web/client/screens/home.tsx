/** The first page: what this is, and the three ways to begin. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";
import type { App, RememberedSession } from "../model/app.ts";
import type { Invitation } from "../model/place.ts";
import { CopyField } from "../panels/controls/copy.tsx";
import { formatAge } from "../panels/controls/format.ts";
import { Icon, type IconName } from "../panels/controls/icon.tsx";
import { Page, PRODUCT } from "./page.tsx";

/** What a server is called whose operator did not name it. */
const UNNAMED_OWNER = "Unknown";

export function Home({ app }: { app: App }): JSX.Element {
  const { edge, place } = app;
  return (
    <Page
      title={PRODUCT}
      lead="Write code together, live: in this browser, or in your own IDE. What you share is end-to-end encrypted; this server only relays it."
      isWide
    >
      {app.remembered.value.length > 0 && <Remembered app={app} />}
      <div class="ways">
        <Way icon="start" title="Start a session">
          <Start app={app} />
        </Way>
        <Way icon="enter" title="Join a session">
          <Join app={app} />
        </Way>
        <Way icon="code" title="Use your IDE">
          <p class="muted">Install the plugin, and enter this server’s URL in its settings.</p>
          <CopyField label="Server URL" text={edge.serverUrl} isCompact />
          <p>
            <a href={`${place.baseUrl}/clients`}>
              {edge.offersPlugins ? "Get the plugin for your IDE" : "Where to get the plugin"}
            </a>
          </p>
        </Way>
      </div>
      {app.isForgetful.value && (
        <p class="muted">
          This browser keeps nothing (a private window, or no storage left): reloading the page
          leaves a session.
        </p>
      )}
      <footer class="page-foot">
        {edge.owner !== UNNAMED_OWNER && edge.owner !== "" && <span>Hosted by {edge.owner}</span>}
        <a href={`${place.baseUrl}/dashboard/`}>Dashboard for operators</a>
        <a href={`${place.baseUrl}/app/licenses.txt`}>Licenses of this page</a>
      </footer>
    </Page>
  );
}

function Way(props: { icon: IconName; title: string; children: ComponentChildren }): JSX.Element {
  const id = useId();
  return (
    <section class="way" aria-labelledby={id}>
      <h2 id={id}>
        <Icon name={props.icon} />
        {props.title}
      </h2>
      {props.children}
    </section>
  );
}

function Start({ app }: { app: App }): JSX.Element {
  return (
    <>
      <p class="muted">
        Share files from this page. Others open your link, and you decide who comes in.
      </p>
      <button type="button" class="button primary" onClick={() => app.startSession("scratch")}>
        New scratch workspace
      </button>
      {app.canOpenFolder ? (
        <button type="button" class="button" onClick={() => app.startSession("folder")}>
          Open a folder…
        </button>
      ) : (
        <p class="muted small">
          To share a folder of this computer, use Chrome or Edge, or your IDE.
        </p>
      )}
    </>
  );
}

function Join({ app }: { app: App }): JSX.Element {
  const id = useId();
  const result = useSignal<Invitation | undefined>(undefined);
  const text = useSignal("");

  function join(): void {
    const invitation = app.readInvitation(text.peek());
    if (invitation.outcome === "here") app.showJoin(invitation.roomId);
    else result.value = invitation;
  }

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        join();
      }}
    >
      <p class="muted">Enter the link or the code that the host sent to you.</p>
      <div class="field">
        <label for={id}>Link or code</label>
        <input
          id={id}
          type="text"
          required
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          aria-invalid={result.value?.outcome === "invalid"}
          aria-describedby={`${id}-result`}
          value={text.value}
          onInput={(event) => {
            text.value = event.currentTarget.value;
            result.value = undefined;
          }}
        />
      </div>
      <div id={`${id}-result`} class="join-result" role="alert">
        {result.value?.outcome === "invalid" && (
          <p class="bad">
            This is no invitation. It is a link like <code>{app.edge.serverUrl}/#…</code>, or the
            code at its end.
          </p>
        )}
        {result.value?.outcome === "elsewhere" && (
          <p>
            This session is on another server.{" "}
            <a href={result.value.url} rel="noopener noreferrer">
              Open it on {result.value.host}
            </a>
          </p>
        )}
      </div>
      <button type="submit" class="button primary">
        Join
      </button>
    </form>
  );
}

function Remembered({ app }: { app: App }): JSX.Element {
  const id = useId();
  return (
    <section class="remembered" aria-labelledby={id}>
      <h2 id={id}>Return to a session</h2>
      <ul>
        {app.remembered.value.map((session) => (
          <RememberedItem key={session.roomId} app={app} session={session} />
        ))}
      </ul>
    </section>
  );
}

function RememberedItem(props: { app: App; session: RememberedSession }): JSX.Element {
  const { app, session } = props;
  const { workspaceName, isHost, lastUsedMs } = session;
  return (
    <li>
      <button type="button" class="remembered-enter" onClick={() => app.enterAgain(session)}>
        <Icon name="enter" />
        <span class="name">{workspaceName}</span>
        <span class="muted">
          {isHost ? "You host it" : "As a guest"}, {formatAge(lastUsedMs, Date.now())}
        </span>
      </button>
      <button
        type="button"
        class="icon-button"
        aria-label={`Forget ${workspaceName}`}
        title="Forget"
        onClick={() => app.forget(session)}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}
