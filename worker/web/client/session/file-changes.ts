/** Tells the open tabs what others do with their files. */
import type { TabList } from "../documents/tab-list.ts";
import { isWithin } from "../files/paths.ts";
import type { FileChange, Files } from "../model/files.ts";

/** Returns a function that ends it. `onChange`: for each change, before the tabs are told. */
export function followFiles(
  files: Pick<Files, "watch">,
  tabs: Pick<TabList, "tabs" | "setGone" | "reread">,
  onChange: (path: string, change: FileChange) => void = () => {},
): () => void {
  return files.watch((path, change) => {
    const touched = tabs.tabs
      .peek()
      .map((tab) => tab.path)
      .filter((open) => isWithin(open, path));
    onChange(path, change);
    for (const open of touched) {
      if (change === "deleted") tabs.setGone(open, true);
      else if (open === path) {
        tabs.setGone(open, false);
        tabs.reread(open);
      }
    }
  });
}
