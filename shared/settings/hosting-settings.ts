/**
 * Settings of what workers offer: who may sign in, the protocol, the clients and the dashboard, and limits per user,
 * session and client.
 */

import { parseApiKeys } from "./api-keys.ts";
import { ALL_PROCESSES, type Setting } from "./setting.ts";

/** RFC 7617 §2: a colon would end the name. */
const USER_NAME = /^[^:\p{Cc}]{1,256}$/u;

export const HOSTING_SETTINGS = {
  // --- sign-in, protocol, pages and limits ---
  secret: {
    env: "CT_SECRET",
    type: "text",
    default: undefined,
    secret: true,
    pattern: /^.{32,1024}$/s,
    allowed: "at least 32 characters, for example from `openssl rand -base64 48`",
    roles: ALL_PROCESSES,
    why: "Signs tokens and authenticates balancers to workers; the same in every process. Without CT_REDIS_URL `ct-edge` generates and keeps one.",
  },
  loginSimple: {
    env: "CT_LOGIN_SIMPLE",
    type: "flag",
    default: false,
    roles: ["edge", "worker"],
    why: "Lets people sign in with only a name (on in the one-machine start); turn it off outside a trusted network.",
  },
  loginApiKey: {
    env: "CT_LOGIN_API_KEY",
    type: "text",
    default: undefined,
    secret: true,
    problemOf(value): string | undefined {
      const keys = parseApiKeys(value);
      return typeof keys === "string" ? keys : undefined;
    },
    roles: ["edge", "worker"],
    why: "Lets programs sign in with this key, or with one of several, `name:key,name:key`; hosts see the name.",
  },
  loginUnverifiedEmail: {
    env: "CT_LOGIN_UNVERIFIED_EMAIL",
    type: "choice",
    default: "drop",
    choices: ["drop", "keep"],
    roles: ["edge", "worker"],
    why: "Whether hosts see the email that people type when they sign in by name. Nobody has verified it, and VS Code's `oct.joinAcceptMode=allowlist` admits people by it.",
  },
  protocolVersion: {
    env: "CT_PROTOCOL_VERSION",
    type: "text",
    default: "0.3.1",
    pattern: /^(0|[1-9]\d{0,4})(\.(0|[1-9]\d{0,4})){2}$/,
    allowed: "three numbers like 0.3.1",
    roles: ["edge", "worker"],
    why: "Protocol version that /api/meta reports; clients of another minor version (from 1 on: major version) refuse to connect, so raise it together with them.",
  },
  protocolAccepted: {
    env: "CT_PROTOCOL_ACCEPTED",
    type: "list",
    default: ["0.3"],
    pattern: /^(0\.(0|[1-9]\d{0,4})|[1-9]\d{0,4})$/,
    allowed: "minor versions like 0.3,0.4 and, from 1 on, major versions like 1",
    roles: ["edge", "worker"],
    why: "Protocol versions whose messages are relayed, in addition to CT_PROTOCOL_VERSION; messages of other versions are dropped.",
  },
  serverOwner: {
    env: "CT_SERVER_OWNER",
    type: "text",
    default: "Unknown",
    roles: ["edge", "worker"],
    why: "Who runs this server, as shown to clients.",
  },
  meetingUrl: {
    env: "CT_MEETING_URL",
    type: "text",
    default: undefined,
    problemOf: problemOfMeetingUrl,
    roles: ["edge", "worker"],
    why: "A meeting for each session, shown in the browser client, like https://meet.example.com/{room}: `{room}` is a name made from the session's id that does not reveal it.",
  },
  clientsDir: {
    env: "CT_CLIENTS_DIR",
    type: "text",
    default: undefined,
    roles: ["edge", "worker", "command"],
    why: "Folder with the IDE plugins that /clients offers: vscode/*.vsix, intellij/*.zip, eclipse/ (default: clients/ in CT_DATA_DIR).",
  },
  noClients: {
    env: "CT_NOCLIENTS",
    type: "flag",
    default: false,
    roles: ["edge", "worker"],
    why: "Disables /clients.",
  },
  dashboardUser: {
    env: "CT_DASHBOARD_USER",
    type: "text",
    default: undefined,
    pattern: USER_NAME,
    allowed: "a name without a colon",
    roles: ["edge", "worker"],
    why: "User of the dashboard and the statistics, together with CT_DASHBOARD_PASSWORD (default: ctuser, with a password that is generated once and written to server.log).",
  },
  dashboardPassword: {
    env: "CT_DASHBOARD_PASSWORD",
    type: "text",
    default: undefined,
    secret: true,
    roles: ["edge", "worker"],
    why: "Password of CT_DASHBOARD_USER; used only when both are set.",
  },
  logsUser: {
    env: "CT_LOGS_USER",
    type: "text",
    default: undefined,
    pattern: USER_NAME,
    allowed: "a name without a colon",
    roles: ["edge", "worker"],
    why: "Older name of CT_DASHBOARD_USER, used when CT_DASHBOARD_USER or its password is not set.",
  },
  logsPassword: {
    env: "CT_LOGS_PASSWORD",
    type: "text",
    default: undefined,
    secret: true,
    roles: ["edge", "worker"],
    why: "Password of CT_LOGS_USER; used only when both are set.",
  },
  corsAllowedOrigins: {
    env: "CT_CORS_ALLOWED_ORIGINS",
    type: "list",
    default: [],
    pattern: /^https?:\/\/[^/?#@\s]+$/,
    allowed: "origins like https://ide.example.com",
    roles: ["edge", "worker"],
    why: "Web origins that may send cookies; any origin may use the server without them.",
  },
  maxSessionsPerUser: {
    env: "CT_MAX_SESSIONS_PER_USER",
    type: "number",
    default: 20,
    min: 1,
    max: 100_000,
    roles: ["edge", "worker"],
    why: "Most open sessions per user; creating one more is refused.",
  },
  maxPeersPerSession: {
    env: "CT_MAX_PEERS_PER_SESSION",
    type: "number",
    default: 50,
    min: 2,
    max: 10_000,
    roles: ["edge", "worker"],
    why: "Most people in one session; one more is refused.",
  },
  maxMessageBytes: {
    env: "CT_MAX_MESSAGE_BYTES",
    type: "number",
    default: 16 * 1024 * 1024,
    min: 65_536,
    max: 256 * 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "worker"],
    why: "Largest message that a client may send; a file that is opened must fit into one message.",
  },
  maxBufferBytes: {
    env: "CT_MAX_BUFFER_BYTES",
    type: "number",
    default: 32 * 1024 * 1024,
    min: 65_536,
    max: 1024 * 1024 * 1024,
    unit: "bytes",
    roles: ["edge", "worker"],
    why: "Most bytes kept for one peer that is away or reads too slowly.",
  },
  maxMessagesPerSecond: {
    env: "CT_MAX_MESSAGES_PER_SECOND",
    type: "number",
    default: 500,
    min: 10,
    max: 1_000_000,
    roles: ["edge", "worker"],
    why: "Messages that one client may send per second on average; a client that sends more is slowed down.",
  },
  maxAdmissionsPerSecond: {
    env: "CT_MAX_ADMISSIONS_PER_SECOND",
    type: "number",
    default: 400,
    min: 1,
    max: 1_000_000,
    roles: ["edge", "worker"],
    why: "People that a worker admits to sessions per second; when more reconnect at once, they wait for up to 10 s.",
  },
} as const satisfies Record<string, Setting>;

/** The link is shown to everyone in a session, and a click opens it. */
function problemOfMeetingUrl(value: string): string | undefined {
  const example = value.replaceAll("{room}", "room");
  const url = URL.canParse(example) ? new URL(example) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) {
    return "it must be a URL that starts with https:// or http://";
  }
  if (url.username !== "" || url.password !== "") return "it must not contain a user or password";
  return /[{}]/.test(example) ? "{room} is the only placeholder" : undefined;
}
