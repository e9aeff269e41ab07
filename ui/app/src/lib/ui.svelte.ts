/** What is open over the page. Not in the URL: it is gone with the next key. */
export const ui = $state({ search_open: false, help_open: false, search_text: "" });

export function open_search(text = "") {
  ui.search_text = text;
  ui.search_open = true;
}
