/** What a person reads when the edge is ready: where it is, how to sign in, how to stop. Pure. */

export interface Running {
  readonly version: string;
  readonly httpPort: number;
  readonly tlsPort: number;
  /** Certificate file when it is self-signed. */
  readonly selfSigned: string | undefined;
  readonly serverUrl: string | undefined;
  readonly workers: readonly { readonly id: string; readonly port: number }[];
  /** Others take part by the same store. */
  readonly isShared: boolean;
  readonly loginSimple: boolean;
  readonly loginApiKey: boolean;
  readonly dataDir: string;
  readonly logFile: string;
}

/** The summary, with its last line feed. */
export function summarize(running: Running): string {
  const http = `http://localhost:${running.httpPort}`;
  const https = `https://localhost:${running.tlsPort}`;
  // An IDE refuses a certificate that the user has not trusted yet; on this machine HTTP works at once.
  const serverUrl = running.serverUrl ?? (running.selfSigned === undefined ? https : http);
  const place = running.isShared ? "port " : "127.0.0.1:";
  const workers = running.workers.map((worker) => `${worker.id} on ${place}${worker.port}`);
  const rows: [string, string][] = [
    ["HTTP", http],
    ["HTTPS", running.selfSigned ? `${https}  (self-signed: ${running.selfSigned})` : https],
    ["In the IDE", `set the server URL of Open Collaboration Tools to ${serverUrl}`],
    ["Sign in", signInWays(running)],
    ["Workers", workers.join(", ")],
    ["Data, log", `${running.dataDir}, ${running.logFile}`],
    [
      "Stop",
      running.isShared
        ? "Ctrl-C; sessions go to workers of other machines"
        : "Ctrl-C; sessions go on when it is started again within 20 s",
    ],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(11)}${value}`);
  return `\nCodeTogether edge ${running.version} is ready\n\n${lines.join("\n")}\n\n`;
}

function signInWays(running: Running): string {
  const ways: string[] = [];
  if (running.loginSimple) ways.push("by name, unchecked (CT_LOGIN_SIMPLE=false turns it off)");
  if (running.loginApiKey) ways.push("with the API key (CT_LOGIN_API_KEY)");
  return ways.join(", ") || "nobody can: set CT_LOGIN_SIMPLE or CT_LOGIN_API_KEY";
}
