/** @file How well what a page shows can be told from what is behind it; runs in the page. */

/** WCAG 2.2: text (1.4.3), and what borders a control (1.4.11). */
const CONTRAST = {text: 4.5, control: 3};

/** Contrasts of what is seen, on the first ground behind it that is not clear: those below the least. */
export function poorContrasts(): string[] {
  const channels = (colour: string) =>
    /^rgba?\(([^)]*)\)/
      .exec(colour)![1]
      .split(/[ ,/]+/)
      .map(Number);
  const luminance = (colour: string) => {
    const [r, g, b] = channels(colour).map((byte) => {
      const share = byte / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (element: Element | null): string => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const poor: string[] = [];
  const hold = (what: string, element: Element, colour: string, behind: string, least: number) => {
    const found = contrast(colour, behind);
    if (found < least)
      poor.push(
        `${what} of <${element.localName} id="${element.id}" class="${element.className}">: ${found.toFixed(2)}`,
      );
  };
  for (const element of document.querySelectorAll('body *')) {
    if (!element.checkVisibility() || element.matches(':disabled')) continue;
    const style = getComputedStyle(element);
    const hasText = [...element.childNodes].some(
      (node) => node.nodeType === 3 && node.textContent!.trim() !== '',
    );
    if (hasText || element.matches('input, textarea'))
      hold('text', element, style.color, ground(element), CONTRAST.text);
    if (element.matches('button:not(.primary), input:not([type=range], [type=checkbox]), select, textarea')) {
      hold('border', element, style.borderTopColor, ground(element.parentElement), CONTRAST.control);
    }
    if (element.matches('button.primary'))
      hold('shape', element, style.backgroundColor, ground(element.parentElement), CONTRAST.control);
  }
  return poor;
}
