/** What a pasted text is. */
export type Kind = "trace" | "span" | "id" | "words";

export function identify(text: string): Kind {
  const one = text.trim();
  if (/^[0-9a-f]{32}$/i.test(one)) return "trace";
  if (/^[0-9a-f]{16}$/i.test(one)) return "span";
  return is_word(one) && one.length >= 5 && (one.match(/[0-9]/g)?.length ?? 0) >= 3 ? "id" : "words";
}

/** One word, and nothing that only a log search reads. */
const is_word = (one: string) => /^[^\s:*]{1,128}$/.test(one) && !one.startsWith("/");

/** Whether a text that somebody typed may well be an ID: its story is found in all retained time. */
export const may_be_id = (text: string) => is_word(text.trim()) && /\d/.test(text);
