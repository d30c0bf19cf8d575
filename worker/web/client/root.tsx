import type { App } from "./model/app.ts";
export function Root({ app }: { readonly app: App }) {
  return <p>{app.screen.value.at}</p>;
}
