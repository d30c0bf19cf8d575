/** Who is signed in, for each edge that this page was loaded from: edges below different paths share the browser's storage. */
import { fieldsOf } from "../../../../shared/base/json.ts";
import type { Backend } from "./backend.ts";
import type { ProblemReport } from "./problem.ts";

export interface User {
  readonly name: string;
  /** The protocol's user token. */
  readonly token: string;
}

/** No function rejects: a failure is reported, and nothing is found. */
export function createUserStore(deps: {
  readonly backend: Backend;
  readonly report: ProblemReport;
}) {
  const { backend, report } = deps;
  return {
    async get(baseUrl: string): Promise<User | undefined> {
      const value = await report.read(backend.get("users", baseUrl));
      return isUser(value) ? value : undefined;
    },
    async put(baseUrl: string, user: User): Promise<void> {
      await report.write(backend.write([{ store: "users", put: baseUrl, value: user }]));
    },
    async delete(baseUrl: string): Promise<void> {
      await report.write(backend.write([{ store: "users", remove: baseUrl }]));
    },
  };
}

function isUser(value: unknown): value is User {
  const { name, token } = fieldsOf(value);
  return typeof name === "string" && typeof token === "string";
}
