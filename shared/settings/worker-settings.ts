/**
 * Settings of what workers offer: who may sign in, the protocol, the clients and the dashboard, limits per user, session and
 * client, what is recorded, and the license.
 */
import { parseApiKeys } from "./api-keys.ts";
import { isProviderUrl, providersProblem } from "./identity-providers.ts";
import { meetingUrlProblem } from "./meeting-url.ts";
import { parseRoleGroups } from "./operator-roles.ts";
import { parseOperatorTokens } from "./operator-tokens.ts";
import { PROVIDER_ALIASES } from "./provider-aliases.ts";
import { ALL_AND_COMMANDS, alias, problemIn, WORKER, WORKER_AND_COMMANDS } from "./setting.ts";
import { parseSyslogTarget } from "./syslog-target.ts";

/** RFC 7617 §2: a colon would end the name. */
const USER_NAME = { pattern: /^[^:\p{Cc}]{1,256}$/u, allowed: "a name without a colon" };

export const WORKER_SETTINGS = {
  // --- the secret, and who may sign in, host and join ---
  secret: ALL_AND_COMMANDS.text("CT_SECRET", {
    secret: true,
    pattern: /^.{32,1024}$/s,
    allowed: "at least 32 characters, for example from `openssl rand -base64 48`",
  }).why(
    "Signs tokens and authenticates balancers to workers; the same in every process. Without CT_REDIS_URL `ct-edge` generates and keeps one.",
  ),
  secretPrevious: ALL_AND_COMMANDS.text("CT_SECRET_PREVIOUS", {
    secret: true,
    pattern: /^.{32,1024}$/s,
    allowed: "the secret before, at least 32 characters",
  }).why(
    "The value that CT_SECRET had before: what was signed with it is accepted, so that the secret can be changed without signing anyone out.",
  ),
  loginSimple: WORKER.flag("CT_LOGIN_SIMPLE").why(
    "Lets people sign in with only a name (on in the one-machine start); turn it off outside a trusted network.",
  ),
  loginApiKey: WORKER.text("CT_LOGIN_API_KEY", {
    secret: true,
    problemOf: problemIn(parseApiKeys),
  }).why(
    "Lets programs sign in with this key, or with one of several, `name:key,name:key`; hosts see the name.",
  ),
  loginUnverifiedEmail: WORKER.choice("CT_LOGIN_UNVERIFIED_EMAIL", "drop", ["drop", "keep"]).why(
    "Whether hosts see the email that people type when they sign in by name. Nobody has verified it, and VS Code's `oct.joinAcceptMode=allowlist` admits people by it.",
  ),
  policy: WORKER_AND_COMMANDS.text("CT_POLICY").why(
    "File (YAML or JSON) with rules for who may host and join sessions, and their limits; read again when it changes. Without it, everyone who has signed in may.",
  ),

  // --- sign-in at identity providers ---
  oidcIssuer: WORKER.text("CT_OIDC_ISSUER", {
    problemOf: (value) =>
      isProviderUrl(value) ? undefined : "use an https URL, or http on this machine",
  }).why(
    "People sign in at this OpenID Connect provider, like https://id.example.com/realms/staff; its discovery document must be below it. The provider redirects to <server URL>/api/login/oidc-callback.",
  ),
  oidcClientId: WORKER.text("CT_OIDC_CLIENT_ID").why(
    "Client id that the provider of CT_OIDC_ISSUER has given this server.",
  ),
  oidcClientSecret: WORKER.text("CT_OIDC_CLIENT_SECRET", { secret: true }).why(
    "The secret that belongs to CT_OIDC_CLIENT_ID.",
  ),
  oidcLabel: WORKER.text("CT_OIDC_LABEL", {
    default: "Company account",
    pattern: /^.{1,64}$/u,
    allowed: "1 to 64 characters",
  }).why(
    "What people read where they choose how to sign in. People who signed in under another label sign in again.",
  ),
  oidcScopes: WORKER.list("CT_OIDC_SCOPES", {
    pattern: /^[\x21\x23-\x5b\x5d-\x7e]+$/,
    allowed: "names like openid,profile,email,groups",
  }).why(
    "Scopes that are asked for (default: openid, profile, email, and offline_access where the provider offers it); some providers report groups only with a scope of their own.",
  ),
  oidcNameClaim: WORKER.text("CT_OIDC_NAME_CLAIM").why(
    "Claim with the name that others see (default: name, else preferred_username, nickname or email).",
  ),
  oidcEmailClaim: WORKER.text("CT_OIDC_EMAIL_CLAIM").why(
    "Claim with the email address (default: email).",
  ),
  oidcGroupsClaim: WORKER.text("CT_OIDC_GROUPS_CLAIM").why(
    "Claim with the names of a user's groups (default: groups); a dot leads into a claim, as in realm_access.roles.",
  ),
  oidcGroups: WORKER.list("CT_OIDC_GROUPS").why(
    "Only members of at least one of these groups may sign in (default: everybody whom the provider signs in).",
  ),
  oidcEmail: WORKER.choice("CT_OIDC_EMAIL", "claim", ["claim", "always"]).why(
    "Which email addresses hosts see: those that the provider calls verified (claim email_verified), or always, if only its administrators can set them.",
  ),
  oidcProviders: WORKER.text("CT_OIDC_PROVIDERS", {
    secret: true,
    aliases: PROVIDER_ALIASES,
    problemOf: providersProblem,
  }).why(
    "More identity providers, as a JSON list; GitHub and plain OAuth 2 too (docs/operators/sign-in.md).",
  ),
  oidcRecheckMs: WORKER.number("CT_OIDC_RECHECK_MS", 900_000, [0, 86_400_000]).why(
    "How often an identity provider is asked whether a person who signed in there still may. Who no longer may is out of all sessions within 5 s. 0: never.",
  ),
  oidcGraceMs: WORKER.number("CT_OIDC_GRACE_MS", 14_400_000, [0, 2_592_000_000]).why(
    "How long after a missed check a sign-in lasts while its identity provider does not respond.",
  ),
  loginPageUrl: WORKER.text("CT_LOGIN_PAGE_URL", {
    aliases: alias("OCT_LOGIN_PAGE_URL"),
    pattern: /^(\/[^\s?#]*|https?:\/\/[^\s?#]+)$/,
    allowed: "a path of this server, or a URL, without a query",
  }).why("Sign-in page of your own, which IDEs open with ?token=… (default: /login.html)."),
  loginSuccessUrl: WORKER.text("CT_LOGIN_SUCCESS_URL", {
    aliases: alias("OCT_LOGIN_SUCCESS_URL"),
    pattern: /^https?:\/\/\S+$/,
    allowed: "a URL",
  }).why(
    "Where browsers go after a sign-in at an identity provider (default: a page that says so).",
  ),
  loginRedirects: WORKER.list("CT_LOGIN_REDIRECTS", {
    aliases: alias("OCT_REDIRECT_URL_WHITELIST"),
    pattern: /^https?:\/\/[^\s?#]+$/,
    allowed: "URLs without a query",
  }).why(
    "URLs to which a web client may have browsers return with ?token=…, by the parameter redirect of its link to an identity provider.",
  ),
  oidcCa: WORKER.text("CT_OIDC_CA").why(
    "PEM file of the authority that has signed the certificates of the identity providers.",
  ),
  proxy: WORKER_AND_COMMANDS.text("CT_PROXY", {
    secret: true,
    pattern: /^https?:\/\/[^\s]+$/,
    allowed: "a URL like http://proxy.example.com:3128",
  }).why(
    "Proxy over which identity providers and receivers of webhooks are reached (default: HTTPS_PROXY and NO_PROXY of the environment).",
  ),

  // --- the protocol, the clients and the dashboard ---
  protocolVersion: WORKER.text("CT_PROTOCOL_VERSION", {
    default: "0.3.1",
    pattern: /^(0|[1-9]\d{0,4})(\.(0|[1-9]\d{0,4})){2}$/,
    allowed: "three numbers like 0.3.1",
  }).why(
    "Protocol version that /api/meta reports; clients of another minor version (from 1 on: major version) refuse to connect, so raise it together with them.",
  ),
  protocolAccepted: WORKER.list("CT_PROTOCOL_ACCEPTED", {
    default: ["0.3"],
    pattern: /^(0\.(0|[1-9]\d{0,4})|[1-9]\d{0,4})$/,
    allowed: "minor versions like 0.3,0.4 and, from 1 on, major versions like 1",
  }).why(
    "Protocol versions whose messages are relayed, in addition to CT_PROTOCOL_VERSION; messages of other versions are dropped.",
  ),
  serverOwner: WORKER.text("CT_SERVER_OWNER", { default: "Unknown" }).why(
    "Who runs this server, as shown to clients.",
  ),
  meetingUrl: WORKER.text("CT_MEETING_URL", { problemOf: meetingUrlProblem }).why(
    "Link to a meeting that the browser client shows in a session and beside its invitation, like https://meet.example.com/{room}; {room} is replaced by a name that only the people of the session can compute. Anyone who opens the page can read it.",
  ),
  clientsDir: WORKER_AND_COMMANDS.text("CT_CLIENTS_DIR").why(
    "Folder with the IDE plugins that /clients offers: vscode/*.vsix, intellij/*.zip, eclipse/ (default: clients/ in CT_DATA_DIR).",
  ),
  noClients: WORKER.flag("CT_NOCLIENTS").why("Disables /clients."),
  dashboardUser: WORKER.text("CT_DASHBOARD_USER", USER_NAME).why(
    "User of the dashboard and the statistics, together with CT_DASHBOARD_PASSWORD (default: ctuser, with a password that is generated once and written to server.log).",
  ),
  dashboardPassword: WORKER.text("CT_DASHBOARD_PASSWORD", { secret: true }).why(
    "Password of CT_DASHBOARD_USER; used only when both are set.",
  ),
  dashboardGroups: WORKER.text("CT_DASHBOARD_GROUPS", {
    problemOf: problemIn(parseRoleGroups),
  }).why(
    "Groups at the identity provider whose members may sign in to the dashboard, with what they may do: view:GROUP, operate:GROUP (drain workers too) or admin:GROUP (everything), separated by commas.",
  ),
  dashboardProvider: WORKER.text("CT_DASHBOARD_PROVIDER").why(
    "Id of the identity provider whose groups CT_DASHBOARD_GROUPS means (default: the only one).",
  ),
  dashboardTokens: WORKER.text("CT_DASHBOARD_TOKENS", {
    secret: true,
    problemOf: problemIn(parseOperatorTokens),
  }).why(
    "Tokens with which programs use the dashboard's JSON, NAME:SCOPES:TOKEN each; scopes are read, drain and sessions, joined by +.",
  ),
  logsUser: WORKER.text("CT_LOGS_USER", USER_NAME).why(
    "Older name of CT_DASHBOARD_USER, used when CT_DASHBOARD_USER or its password is not set.",
  ),
  logsPassword: WORKER.text("CT_LOGS_PASSWORD", { secret: true }).why(
    "Password of CT_LOGS_USER; used only when both are set.",
  ),

  // --- limits ---
  corsAllowedOrigins: WORKER.list("CT_CORS_ALLOWED_ORIGINS", {
    pattern: /^https?:\/\/[^/?#@\s]+$/,
    allowed: "origins like https://ide.example.com",
  }).why("Web origins that may send cookies; any origin may use the server without them."),
  maxSessionsPerUser: WORKER.number("CT_MAX_SESSIONS_PER_USER", 20, [1, 100_000]).why(
    "Most open sessions per user; creating one more is refused.",
  ),
  maxPeersPerSession: WORKER.number("CT_MAX_PEERS_PER_SESSION", 50, [2, 10_000]).why(
    "Most people in one session; one more is refused.",
  ),
  maxMessageBytes: WORKER.number("CT_MAX_MESSAGE_BYTES", 16 * 1024 * 1024, [
    65_536,
    256 * 1024 * 1024,
  ]).why(
    "Largest message that a client may send; a file that is opened must fit into one message.",
  ),
  maxBufferBytes: WORKER.number("CT_MAX_BUFFER_BYTES", 32 * 1024 * 1024, [
    65_536,
    1024 * 1024 * 1024,
  ]).why("Most bytes kept for one peer that is away or reads too slowly."),
  maxMessagesPerSecond: WORKER.number("CT_MAX_MESSAGES_PER_SECOND", 500, [10, 1_000_000]).why(
    "Messages that one client may send per second on average; a client that sends more is slowed down.",
  ),
  maxAdmissionsPerSecond: WORKER.number("CT_MAX_ADMISSIONS_PER_SECOND", 400, [1, 1_000_000]).why(
    "People that a worker admits to sessions per second; when more reconnect at once, they wait for up to 10 s.",
  ),

  // --- webhooks and the audit log ---
  webhooks: WORKER_AND_COMMANDS.text("CT_WEBHOOKS").why(
    "File (YAML or JSON) with the receivers to which events of people and sessions are sent, and their secrets; read again when it changes. The same for every worker.",
  ),
  webhookNetworks: WORKER_AND_COMMANDS.list("CT_WEBHOOK_NETWORKS", {
    pattern: /^[0-9A-Fa-f:.]+(\/\d{1,3})?$/,
    allowed: "addresses or ranges like 10.0.0.0/8",
  }).why(
    "Networks besides the public ones in which receivers of webhooks may be; plain http is allowed only there (default: none).",
  ),
  audit: WORKER.flag("CT_AUDIT").why(
    "Records who signed in, hosted, asked, was let in or refused and by whom, and what operators did, in files that show whether they were changed (docs/operators/audit.md).",
  ),
  auditDir: WORKER_AND_COMMANDS.text("CT_AUDIT_DIR").why(
    "Folder of the audit log (default: audit/ in CT_DATA_DIR); several workers may share it.",
  ),
  auditDays: WORKER_AND_COMMANDS.number("CT_AUDIT_DAYS", 90, [0, 36_500]).why(
    "Days after which files of the audit log are deleted; 0 keeps them.",
  ),
  auditFailure: WORKER.choice("CT_AUDIT_FAILURE", "continue", ["continue", "refuse"]).why(
    "While the audit log cannot be written, as on a full disk, or has no checkpoints, because the store is away for a minute: continue, and record what is missing, or refuse new sessions.",
  ),
  auditSyslog: WORKER.text("CT_AUDIT_SYSLOG", { problemOf: problemIn(parseSyslogTarget) }).why(
    "Syslog server that receives the events of the audit log too, like udp://log.example.com:514 or tls://log.example.com:6514.",
  ),
  auditSyslogCa: WORKER.text("CT_AUDIT_SYSLOG_CA").why(
    "PEM file of the authority that has signed the certificate of the syslog server.",
  ),

  // --- the license ---
  licensee: WORKER.text("CT_LICENSEE").why(
    "Name of the licensee; CT_LICENSEE, CT_MAXCONNECTIONS, CT_EXPIRATION and CT_SIGNATURE are as the issuer wrote them. Without a license nothing is limited.",
  ),
  licenseMaxConnections: WORKER.text("CT_MAXCONNECTIONS").why(
    "People that the license allows in sessions at the same time; beyond them new sessions are refused (not CT_MAX_CONNECTIONS, which limits sockets).",
  ),
  licenseExpiration: WORKER.text("CT_EXPIRATION").why(
    "Last day of the license, like 2027/12/31 (UTC).",
  ),
  licenseSignature: WORKER.text("CT_SIGNATURE").why("The issuer's signature of the license."),
  licenseFile: WORKER.text("CT_LICENSE_FILE").why(
    "File with the license, read when the four variables are not set (default: /opt/codetogether/licensing.properties, if it exists).",
  ),
  licensePublicKey: WORKER.text("CT_LICENSE_PUBLIC_KEY").why(
    "The issuer's Ed25519 public key, as PEM or as base64 of its DER form; a license with another signature is invalid.",
  ),
};
