/** How a session is joined from an IDE: links that open it there, and what to copy for IDEs without such links. Pure. */

/** A session as its invitation describes it. */
export interface SharedSession {
  /** The link with the server's URL and the session's id. */
  readonly invitation: string;
  readonly roomId: string;
  /** Without a trailing slash. */
  readonly serverUrl: string;
}

/** Shown with the links: older versions of the extension do not react to them. */
export const IDE_LINK_NOTE =
  "Needs the extension Open Collaboration Tools 0.3.9 or later. If nothing opens, copy the invitation below.";

/** The URL scheme of each product is `urlProtocol` in its product.json. */
const PRODUCTS = [
  { label: "VS Code", scheme: "vscode" },
  { label: "VS Code Insiders", scheme: "vscode-insiders" },
  { label: "VSCodium", scheme: "vscodium" },
  { label: "Cursor", scheme: "cursor" },
  { label: "Windsurf", scheme: "windsurf" },
] as const;

const EXTENSION = "typefox.open-collaboration-tools";

/** Each opens the session in an IDE that has the Open Collaboration Tools extension. */
export function ideLinks(invitation: string) {
  const room = encodeURIComponent(invitation);
  return PRODUCTS.map(({ label, scheme }) => ({
    label,
    href: `${scheme}://${EXTENSION}/join?room=${room}`,
  }));
}

/**
 * For IDEs that no link opens; `note`: what to do with the text. IntelliJ and Theia read only the session's code, and use the
 * server of their settings.
 */
export function ideCopies(session: SharedSession) {
  const { invitation, roomId, serverUrl } = session;
  return [
    {
      label: "VS Code, also with an older extension",
      text: invitation,
      note: "Run “Join Collaboration Session” and paste the invitation.",
    },
    {
      label: "IntelliJ IDEA and other JetBrains IDEs",
      text: roomId,
      note: `Under Settings › Tools › Open Collaboration Tools, set the default server address to ${serverUrl}. Then choose Tools › OCT › Join OCT Session and paste the code.`,
    },
    {
      label: "Theia",
      text: roomId,
      note: `Its server must be ${serverUrl} (COLLABORATION_SERVER_URL). Choose Share › Join Collaboration Session and paste the code.`,
    },
  ];
}
