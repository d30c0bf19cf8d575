/** The files of a host's session: served to guests, opened in the page's tabs, and saved where they come from. */
import { signal } from "@preact/signals";
import type { ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { createHostOpener } from "../documents/host-opener.ts";
import { serveFiles } from "../files/serve-files.ts";
import type { Files, OwnFiles } from "../model/files.ts";
import { followFiles } from "./file-changes.ts";
import type { LiveSession } from "./live-session.ts";

export function openHostFiles(
  options: {
    /** `watched`: the open files and the listed folders, for files that others can change only where they are looked at. */
    readonly openFiles: (watched: () => Iterable<string>) => OwnFiles;
    /** `saved`, as it was before a reload. */
    readonly saved: ReadonlyMap<string, string> | undefined;
    /** `saved` has changed. */
    readonly onSaved: () => void;
  },
  live: LiveSession,
  connection: ProtocolBroadcastConnection,
) {
  const { documents } = live;
  const listed = new Set<string>();
  const sources = options.openFiles(() => [
    ...tabs.tabs.peek().map(({ path }) => path),
    ...listed,
    ...server.listedFolders(),
  ]);
  const server = serveFiles({
    connection,
    files: sources,
    isReadOnly: () => live.isReadOnly.peek(),
    onWritten: (path, content) => opener.write(path, content),
  });
  const files: Files = {
    ...server.files,
    list(folder) {
      listed.add(folder);
      return server.files.list(folder);
    },
  };
  const saved = new Map(options.saved);
  const opener = createHostOpener({ documents, files, saved, onSaved: options.onSaved });
  // Read-only is for guests.
  const tabs = live.openTabs(opener, signal(false));
  const stopFiles = followFiles(files, tabs, (path, change) => {
    if (change === "deleted") opener.onDeleted(path);
    else opener.onChanged(path).catch(() => {});
  });

  return {
    files,
    tabs,
    opener,
    /** Marks of what the files held last, by path. */
    saved,
    /** Serves no more, saves what is not saved yet, and then ends. */
    close(): void {
      stopFiles();
      server.close();
      void opener.flush().then(() => {
        opener.close();
        sources.close();
      });
    },
  };
}
