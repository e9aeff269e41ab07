/** Lets the keyboard scroll what is wider or higher than its box: to be attached to it. */
export function scrollable(box: HTMLElement) {
  const look = () => {
    const overflows = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (overflows) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  const sizes = new ResizeObserver(look);
  sizes.observe(box);
  const content = new MutationObserver(look);
  content.observe(box, { childList: true, subtree: true });
  look();
  return () => {
    sizes.disconnect();
    content.disconnect();
  };
}
