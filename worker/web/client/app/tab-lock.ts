/**
 * One tab per session and browser: two tabs with the same keys would take each other's connection. A tab that wants the
 * session can ask the other one for it.
 */

export interface TabLock {
  /** Lets another tab have the session. */
  release(): void;
}

const CHANNEL = "codetogether-edge";

/** Undefined when another tab has the session. `onAsked`: another tab asks for it; release the lock then. */
export async function lockSession(
  roomId: string,
  onAsked: () => void,
): Promise<TabLock | undefined> {
  const name = lockName(roomId);
  return new Promise((resolve) => {
    void navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) {
        resolve(undefined);
        return undefined;
      }
      return new Promise<void>((release) => {
        const channel = new BroadcastChannel(CHANNEL);
        channel.onmessage = ({ data }: MessageEvent<unknown>) => {
          if (data === name) onAsked();
        };
        resolve({
          release() {
            channel.close();
            release();
          },
        });
      });
    });
  });
}

/** Asks the tab that has the session for it. Resolves when it is free. */
export async function askForSession(roomId: string): Promise<void> {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(lockName(roomId));
  await navigator.locks.request(lockName(roomId), () => {});
  channel.close();
}

function lockName(roomId: string): string {
  return `session ${roomId}`;
}
