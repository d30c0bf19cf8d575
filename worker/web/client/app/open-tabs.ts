/** Which files are open survives a reload of the tab. */
import { effect } from "@preact/signals";
import { fieldsOf, parseJson } from "../../../../shared/base/json.ts";
import type { Tabs } from "../model/session.ts";

interface OpenTabs {
  readonly paths: readonly string[];
  readonly active: string | undefined;
}

/** Opens what was open before the page was reloaded, and keeps it up to date. Returns a function that ends it. */
export function keepOpenTabs(roomId: string, tabs: Tabs): () => void {
  const key = `tabs ${roomId}`;
  const before = read(key);
  for (const path of before.paths) tabs.open(path);
  if (before.active !== undefined) tabs.open(before.active);
  return effect(() => {
    const open = {
      paths: tabs.tabs.value.map(({ path }) => path),
      active: tabs.active.value?.path,
    };
    try {
      sessionStorage.setItem(key, JSON.stringify(open));
    } catch {
      // Without storage the tabs are not opened again.
    }
  });
}

function read(key: string): OpenTabs {
  try {
    const { paths, active } = fieldsOf(parseJson(sessionStorage.getItem(key) ?? "{}"));
    const isText = (item: unknown): item is string => typeof item === "string";
    return {
      paths: Array.isArray(paths) ? paths.filter(isText) : [],
      active: isText(active) ? active : undefined,
    };
  } catch {
    return { paths: [], active: undefined };
  }
}
