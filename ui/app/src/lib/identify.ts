/** What a pasted text is. */
export type Kind = "trace" | "span" | "id" | "words";

export function identify(text: string): Kind {
  const one = text.trim();
  if (/^[0-9a-f]{32}$/i.test(one)) return "trace";
  if (/^[0-9a-f]{16}$/i.test(one)) return "span";
  const is_word = /^\S{5,128}$/.test(one) && !one.includes(":") && !one.includes("*") && !one.startsWith("/");
  return is_word && (one.match(/[0-9]/g)?.length ?? 0) >= 3 ? "id" : "words";
}
