/** The summary that is printed when the edge is ready: its addresses, how to sign in, how to stop. Pure. */
import { isLoopback, isWildcard, urlHost } from "../../shared/net/networks.ts";
import { DEFAULT_USER } from "../../shared/settings/operator-credentials.ts";

export interface Running {
  readonly version: string;
  /** Address that the public ports listen on (`CT_BIND`); undefined: every address. */
  readonly bind: string | undefined;
  readonly httpPort: number;
  readonly tlsPort: number;
  /** The certificate file when it is self-signed. */
  readonly selfSigned: string | undefined;
  readonly serverUrl: string | undefined;
  readonly workers: readonly { readonly id: string; readonly port: number }[];
  /** Other machines use the same store. */
  readonly isShared: boolean;
  /** Labels of the identity providers. */
  readonly identityProviders: readonly string[];
  readonly loginSimple: boolean;
  readonly loginApiKey: boolean;
  /** The dashboard's user and the variable that holds its password; undefined: the password was generated and logged. */
  readonly dashboard: { readonly user: string; readonly passwordSetting: string } | undefined;
  /** Where to get Open Collaboration Tools for each IDE for which it is not offered; empty with CT_NOCLIENTS. */
  readonly pluginSources: readonly string[];
  readonly clientsDir: string;
  readonly dataDir: string;
  readonly logFile: string;
}

/** The summary, with its last line feed. */
export function summarize(running: Running): string {
  const host = hostOf(running.bind);
  const http = `http://${host}:${running.httpPort}`;
  const https = `https://${host}:${running.tlsPort}`;
  // An IDE refuses a certificate that the user has not trusted; on this machine HTTP works without that.
  const url = running.serverUrl ?? (running.selfSigned === undefined ? https : http);
  const base = url.replace(/\/+$/, "");
  const place = running.isShared ? "port " : "127.0.0.1:";
  const workers = running.workers.map((worker) => `${worker.id} on ${place}${worker.port}`);
  const rows: [string, string][] = [
    ["Web page", `${base}/`],
    ["Dashboard", `${base}/dashboard  (${dashboardAccess(running)})`],
    ["In the IDE", `set the server URL of Open Collaboration Tools to ${url}`],
    ...pluginRows(running),
    ["Sign in", signInWays(running)],
    ["HTTP", http],
    ["HTTPS", running.selfSigned ? `${https}  (self-signed: ${running.selfSigned})` : https],
    ["Workers", workers.join(", ")],
    ["Data, log", `${running.dataDir}, ${running.logFile}`],
    [
      "Stop",
      running.isShared
        ? "Ctrl-C; sessions move to workers of other machines"
        : "Ctrl-C; sessions continue when it is started again within 20 s",
    ],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(11)}${value}`);
  return `\nCodeTogether edge ${running.version} is ready\n\n${lines.join("\n")}\n\n`;
}

/** A row for each IDE, and one for the folder. */
function pluginRows({ pluginSources, clientsDir }: Running): [string, string][] {
  if (pluginSources.length === 0) return [];
  const folder = `to offer them at /clients, put the files into ${clientsDir}`;
  return [...pluginSources, folder].map((text, index) => [index === 0 ? "Plugins" : "", text]);
}

/** The host name for this machine; the edge listens on all addresses, on loopback, or on one other address. */
function hostOf(bind: string | undefined): string {
  if (bind === undefined || isWildcard(bind) || isLoopback(bind)) return "localhost";
  return urlHost(bind);
}

function dashboardAccess({ dashboard, isShared, logFile }: Running): string {
  if (dashboard !== undefined) {
    return `user ${dashboard.user}, password of ${dashboard.passwordSetting}`;
  }
  const where = isShared ? "in server.log of the edge that was started first" : `in ${logFile}`;
  return `user ${DEFAULT_USER}, password ${where}; set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD for others`;
}

function signInWays(running: Running): string {
  const ways = running.identityProviders.map((label) => `with ${label}`);
  if (running.loginSimple) ways.push("by name, unchecked (CT_LOGIN_SIMPLE=false turns it off)");
  if (running.loginApiKey) ways.push("with the API key (CT_LOGIN_API_KEY)");
  return ways.join(", ") || "disabled; set CT_OIDC_ISSUER, CT_LOGIN_SIMPLE or CT_LOGIN_API_KEY";
}
