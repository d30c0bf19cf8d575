/** Reads the certificate of the deployment. */
import { isIP } from "node:net";
import { type ConnectionOptions, connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { describeError, errorCode } from "../../../shared/base/errors.ts";
import type { Target } from "../model/target.ts";

export type CertificateAnswer =
  | {
      readonly outcome: "read";
      /** Why Node does not trust it (`CERT_HAS_EXPIRED`); undefined: it does. */
      readonly problem: string | undefined;
      readonly issuer: string;
      /** The names that it covers. */
      readonly names: string;
      readonly validFromMs: number;
      readonly validToMs: number;
    }
  | { readonly outcome: "failed"; readonly detail: string };

const TIMEOUT_MS = 8000;

/** `ca`: PEM of authorities that are trusted besides those of Node. Never rejects. */
export function readCertificate(
  target: Target,
  signal: AbortSignal,
  ca: readonly string[] | undefined,
): Promise<CertificateAnswer> {
  const url = new URL(target.origin);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const options: ConnectionOptions = {
      host,
      port: Number(url.port || 443),
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== undefined && { ca: [...ca] }),
      // Judged, not required.
      rejectUnauthorized: false,
      ALPNProtocols: ["http/1.1"],
    };
    const socket: TLSSocket = connect(options);
    const late = setTimeout(() => end("no TLS handshake in time"), TIMEOUT_MS);
    const abort = (): void => end("interrupted");
    signal.addEventListener("abort", abort, { once: true });

    function finish(answer: CertificateAnswer): void {
      clearTimeout(late);
      signal.removeEventListener("abort", abort);
      socket.destroy();
      resolve(answer);
    }
    function end(detail: string): void {
      finish({ outcome: "failed", detail });
    }

    socket.on("error", (error) => end(errorCode(error) ?? describeError(error)));
    socket.once("close", () => end("the connection was closed during the TLS handshake"));
    socket.once("secureConnect", () => {
      const certificate = socket.getPeerCertificate();
      finish({
        outcome: "read",
        problem: socket.authorized ? undefined : codeOf(socket.authorizationError),
        issuer: issuerOf(certificate),
        names: certificate.subjectaltname ?? "",
        validFromMs: Date.parse(certificate.valid_from),
        validToMs: Date.parse(certificate.valid_to),
      });
    });
  });
}

/** Node gives an error with a code, or the code itself. */
function codeOf(error: unknown): string {
  return errorCode(error) ?? describeError(error);
}

function issuerOf({ issuer }: PeerCertificate): string {
  const name = issuer?.CN ?? issuer?.O ?? "";
  return Array.isArray(name) ? name.join(", ") : name;
}
