/** Who joins or hosts: a name, or one of the server's other ways to sign in. */
import type { JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import type { SignInScreen, SignInWay } from "../model/app.ts";
import type { SharedSession } from "../model/ide-links.ts";
import { Problem } from "../panels/controls/problem.tsx";
import { OpenInIde } from "./open-in-ide.tsx";
import { Page } from "./page.tsx";

const SECRET = { type: "password" } as const;
const PLAIN = { type: "text" } as const;

type FormWay = Extract<SignInWay, { kind: "form" }>;

export function SignIn(props: {
  screen: SignInScreen;
  /** The session to join; undefined before one is started. */
  session: SharedSession | undefined;
}): JSX.Element {
  const { screen, session } = props;
  const isJoin = screen.purpose === "join";
  return (
    <Page
      title={isJoin ? "Join the session" : "Start a session"}
      lead={
        isJoin
          ? "The host sees who you are, and lets you in."
          : "The people you invite see this name."
      }
    >
      <Problem text={screen.problem.value} />
      <Ways screen={screen} />
      {isJoin && session && <OpenInIde session={session} />}
      <footer class="page-foot">
        <button type="button" class="link-button" onClick={() => screen.cancel()}>
          Back
        </button>
      </footer>
    </Page>
  );
}

function Ways({ screen }: { screen: SignInScreen }): JSX.Element {
  const { ways, signedInAs, isBusy } = screen;
  if (signedInAs.value !== undefined) {
    return (
      <div class="sign-in">
        <button
          type="button"
          class="button primary full"
          disabled={isBusy.value}
          onClick={() => screen.proceed()}
        >
          <span>
            Continue as <bdi>{signedInAs.value}</bdi>
          </span>
        </button>
        <button
          type="button"
          class="link-button"
          disabled={isBusy.value}
          onClick={() => screen.signOut()}
        >
          Use another name
        </button>
      </div>
    );
  }
  if (ways.value === undefined) {
    return screen.problem.value === undefined ? (
      <p class="muted late" role="status">
        Loading…
      </p>
    ) : (
      <button type="button" class="button primary" onClick={() => screen.retry()}>
        Try again
      </button>
    );
  }
  if (ways.value.length === 0) {
    return <p>This server offers no way to sign in. Ask its operator to turn one on.</p>;
  }
  const forms = ways.value.filter((way) => way.kind === "form");
  const links = ways.value.filter((way) => way.kind === "web");
  const verb = screen.purpose === "join" ? "Ask to join" : "Continue";
  return (
    <div class="sign-in">
      {forms.map((way, index) => (
        <Form
          key={way.name}
          way={way}
          verb={verb}
          isFirst={index === 0}
          isBusy={isBusy.value}
          showsLabel={forms.length > 1}
        />
      ))}
      {forms.length > 0 && links.length > 0 && <p class="or muted">or</p>}
      {links.map((way) => (
        <button
          key={way.name}
          type="button"
          class={forms.length === 0 ? "button primary full" : "button full"}
          disabled={isBusy.value}
          onClick={() => way.open()}
        >
          {way.label}
        </button>
      ))}
    </div>
  );
}

function Form(props: {
  way: FormWay;
  verb: string;
  isFirst: boolean;
  isBusy: boolean;
  showsLabel: boolean;
}): JSX.Element {
  const { way, verb, isFirst, isBusy, showsLabel } = props;
  const id = useId();
  const values = useRef<Record<string, string>>({});
  const firstField = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (isFirst) firstField.current?.focus();
  }, [isFirst]);
  return (
    <form
      class="sign-in-form"
      onSubmit={(event) => {
        event.preventDefault();
        way.submit({ ...values.current });
      }}
    >
      {showsLabel && <h2>{way.label}</h2>}
      {way.details !== undefined && <p class="muted">{way.details}</p>}
      {way.fields.map((field, index) => (
        <div key={field.name} class="field">
          <label for={`${id}-${index}`}>
            {field.label}
            {!field.isRequired && <span class="muted"> (optional)</span>}
          </label>
          <input
            id={`${id}-${index}`}
            {...(field.isSecret ? SECRET : PLAIN)}
            required={field.isRequired}
            ref={index === 0 ? firstField : null}
            placeholder={field.placeholder}
            autocomplete={autocompleteOf(field)}
            maxLength={1_000}
            onInput={(event) => {
              values.current[field.name] = event.currentTarget.value;
            }}
          />
        </div>
      ))}
      <button
        type="submit"
        class={isFirst ? "button primary full" : "button full"}
        disabled={isBusy}
      >
        {isBusy ? "One moment…" : verb}
      </button>
    </form>
  );
}

function autocompleteOf(field: FormWay["fields"][number]): string {
  if (field.isSecret) return "current-password";
  const names = [
    [/mail/i, "email"],
    [/user|name/i, "name"],
  ] as const;
  return names.find(([pattern]) => pattern.test(field.name))?.[1] ?? "on";
}
