/** The sign-in screen: the methods that the server offers, until one of them has signed the user in. */
import { type Signal, signal } from "@preact/signals";
import type { AuthMetadata, FormAuthProviderField } from "open-collaboration-protocol";
import type { SignInScreen, SignInWay } from "../model/app.ts";
import { createEntrance, type Entrance, JoinError } from "../session/entry.ts";
import type { Database } from "../storage/database.ts";

export interface SignedIn {
  readonly name: string;
  readonly entrance: Entrance;
}

const UNREACHABLE = "The server does not respond. Check your connection and try again.";

export function startSignIn(options: {
  readonly baseUrl: string;
  readonly users: Database["users"];
  readonly purpose: "join" | "host";
  readonly roomId: string | undefined;
  /** Whether an email that nobody verifies is of any use. */
  readonly asksEmail: boolean;
  /** Aborted when the user goes elsewhere; nothing is asked of the server then. */
  readonly signal: AbortSignal;
  readonly onCancel: () => void;
}) {
  const { baseUrl, users } = options;
  const ways: Signal<readonly SignInWay[] | undefined> = signal(undefined);
  const signedInAs = signal<string | undefined>(undefined);
  const isBusy = signal(false);
  const problem = signal<string | undefined>(undefined);
  let resolve: (signedIn: SignedIn) => void = () => {};
  /** Resolves when the user is signed in and wants to go on; never when the user goes elsewhere. */
  const done = new Promise<SignedIn>((settle) => {
    resolve = settle;
  });
  let known: SignedIn | undefined;

  async function start(): Promise<void> {
    problem.value = undefined;
    const user = await users.get(baseUrl);
    const entrance = createEntrance(baseUrl, user?.token);
    if (user !== undefined && (await entrance.isSignedIn())) {
      known = { name: user.name, entrance };
      signedInAs.value = user.name;
      return;
    }
    await askUntilSignedIn();
  }

  /** A sign-in expires after 5 minutes; the next one takes its place while the user still reads. */
  async function askUntilSignedIn(): Promise<void> {
    for (;;) {
      const entrance = createEntrance(baseUrl, undefined);
      try {
        const token = await entrance.signIn(
          (ticket, metadata) => show(ticket, metadata),
          options.signal,
        );
        const name = nameIn(token);
        await users.put(baseUrl, { name, token });
        resolve({ name, entrance });
        return;
      } catch (error) {
        if (options.signal.aborted) return;
        if (!(error instanceof JoinError && error.reason === "timeout")) throw error;
      }
    }
  }

  async function show(ticket: string, { providers }: AuthMetadata): Promise<boolean> {
    ways.value = providers.map((provider): SignInWay => {
      const { name } = provider;
      const label = provider.label.message;
      const url = `${baseUrl}${provider.endpoint}`;
      if (provider.type === "web") {
        const href = `${url}?token=${encodeURIComponent(ticket)}`;
        return { kind: "web", name, label, open: () => void window.open(href) };
      }
      return {
        kind: "form",
        name,
        label,
        details: provider.details?.message,
        fields: provider.fields.filter(isUseful).map(describeField),
        submit: (values) => void submit(url, { ...values, token: ticket }),
      };
    });
    return true;
  }

  function isUseful({ name, required }: FormAuthProviderField): boolean {
    return required || name !== "email" || options.asksEmail;
  }

  async function submit(url: string, form: Readonly<Record<string, string>>): Promise<void> {
    isBusy.value = true;
    problem.value = await send(url, form);
    // Until the poll has its answer the form stays busy.
    if (problem.value !== undefined) isBusy.value = false;
  }

  async function signOut(): Promise<void> {
    known = undefined;
    signedInAs.value = undefined;
    await users.delete(baseUrl);
    await askUntilSignedIn();
  }

  function begin(work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      problem.value = messageOf(error);
      isBusy.value = false;
    });
  }

  begin(start);
  const screen: SignInScreen = {
    at: "sign-in",
    purpose: options.purpose,
    roomId: options.roomId,
    ways,
    signedInAs,
    isBusy,
    problem,
    proceed() {
      if (known !== undefined) resolve(known);
    },
    signOut: () => begin(signOut),
    retry: () => begin(start),
    cancel: options.onCancel,
  };
  return { screen, done };
}

function describeField({ name, label, placeHolder, required }: FormAuthProviderField) {
  return {
    name,
    label: label.message,
    placeholder: placeHolder?.message,
    isRequired: required,
    isSecret: /key|password|secret/i.test(name),
  };
}

function messageOf(error: unknown): string {
  const isKnown = error instanceof JoinError && error.reason !== "unreachable";
  return isKnown ? error.message : UNREACHABLE;
}

/** Resolves with undefined, or with what to tell the user. */
async function send(
  url: string,
  form: Readonly<Record<string, string>>,
): Promise<string | undefined> {
  try {
    const response = await fetch(url, {
      method: "POST",
      credentials: "omit",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(form),
    });
    if (response.ok) return undefined;
    return response.status < 500 ? await response.text() : UNREACHABLE;
  } catch {
    return UNREACHABLE;
  }
}

/** The user's name in a token of this server; for display only. */
function nameIn(token: string): string {
  try {
    const claims = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(claims), (char) => char.charCodeAt(0));
    const { name } = JSON.parse(new TextDecoder().decode(bytes)) as { readonly name?: unknown };
    return typeof name === "string" ? name : "";
  } catch {
    return "";
  }
}
