/** The HTTP part of the protocol, for a person who signs in by name. Runs in Node and in a browser's page. */

export interface Api {
  /** Resolves with the user token, which further requests have. */
  signIn(user: string): Promise<string>;
  create(): Promise<{ readonly roomId: string; readonly roomToken: string }>;
  /** Resolves with the room token when the host has accepted. */
  join(roomId: string): Promise<string>;
}

export function createApi(url: string): Api {
  let jwt: string | undefined;

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
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return (text.startsWith("{") ? JSON.parse(text) : text) as T;
  }

  return {
    async signIn(user) {
      const { pollToken } = await post<{ pollToken: string }>("/api/login/initial");
      await post("/api/login/simple", { token: pollToken, user });
      const { loginToken } = await post<{ loginToken: string }>(`/api/login/poll/${pollToken}`);
      jwt = loginToken;
      return loginToken;
    },
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
