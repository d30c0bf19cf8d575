/** The HTTP part of the protocol, for a person who signs in by name. Runs in Node and in a browser's page. */

export interface Api {
  /** Resolves with the user token, which further requests have. */
  signIn(user: string): Promise<string>;
  /** Begins a sign-in; resolves with the token for its form. */
  begin(): Promise<string>;
  submit(pollToken: string, user: string): Promise<void>;
  /** Waits until the form was submitted; resolves as `signIn` does. */
  finish(pollToken: string): Promise<string>;
  create(): Promise<{ readonly roomId: string; readonly roomToken: string }>;
  /** Resolves with the room token when the host has accepted. */
  join(roomId: string): Promise<string>;
}

/** `jwt`: of a person who has signed in already. */
export function createApi(url: string, jwt?: string): Api {
  async function post<T>(path: string, form?: unknown): Promise<T> {
    const response = await fetch(url + path, {
      method: "POST",
      headers: {
        ...(jwt !== undefined && { "x-oct-jwt": jwt }),
        ...(form !== undefined && { "content-type": "application/json" }),
      },
      ...(form !== undefined && { body: JSON.stringify(form) }),
    });
    const text = await response.text();
    // 204: a poll that has waited for long.
    if (response.status !== 200 && response.status !== 204) {
      throw new Error(`${path}: ${response.status} ${text}`);
    }
    return (text.startsWith("{") ? JSON.parse(text) : text) as T;
  }

  async function begin(): Promise<string> {
    return (await post<{ pollToken: string }>("/api/login/initial")).pollToken;
  }

  async function submit(pollToken: string, user: string): Promise<void> {
    await post("/api/login/simple", { token: pollToken, user });
  }

  async function finish(pollToken: string): Promise<string> {
    for (;;) {
      // A poll that has waited for long answers nothing.
      const { loginToken } = await post<{ loginToken?: string }>(`/api/login/poll/${pollToken}`);
      if (loginToken === undefined) continue;
      jwt = loginToken;
      return loginToken;
    }
  }

  return {
    async signIn(user) {
      const pollToken = await begin();
      await submit(pollToken, user);
      return finish(pollToken);
    },
    ...{ begin, submit, finish },
    create: () => post("/api/session/create"),
    async join(roomId) {
      const { pollToken } = await post<{ pollToken: string }>(`/api/session/join/${roomId}`);
      for (;;) {
        // Until then each poll reports that the host was asked.
        const { roomToken } = await post<{ roomToken?: string }>(`/api/session/poll/${pollToken}`);
        if (roomToken !== undefined) return roomToken;
      }
    },
  };
}

export async function isSignedIn(url: string, jwt: string): Promise<boolean> {
  const headers = { "x-oct-jwt": jwt };
  const response = await fetch(`${url}/api/login/validate`, { method: "POST", headers });
  return ((await response.json()) as { valid: boolean }).valid;
}
