/** Saves bytes as a file of the user. */
export function downloadBytes(name: string, content: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([content.slice()]));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The download has its own hold on the data by the next task.
  setTimeout(() => URL.revokeObjectURL(url), 0);
}
