const { test, expect } = require('@playwright/test');
const { openShop, addToCart } = require('./shop');

const pages = ['/', '/product/bread', '/cart', '/checkout', '/account'];

/** Runs a check, which gives back the list of its complaints, on every page of the shop. */
async function onEveryPage(page, check) {
  await openShop(page);
  await addToCart(page, 'Sourdough loaf');
  for (const route of pages) {
    await test.step(route, async () => {
      await page.goto(`./#${route}`);
      await expect(page.getByRole('heading', { level: 1 })).toHaveCount(1);
      expect(await page.evaluate(check), `on ${route}`).toEqual([]);
    });
  }
}

test('every field and button has a name', async ({ page }) => {
  await onEveryPage(page, () =>
    [...document.querySelectorAll('button, a, input, select')]
      .filter((e) => !(e.ariaLabel || e.labels?.[0]?.textContent || e.textContent).trim())
      .map((e) => e.outerHTML));
});

test('fingers find every control: at least 44 pixels high', async ({ page }) => {
  await onEveryPage(page, () =>
    [...document.querySelectorAll('button, input, select, .button, .tabs a, .card > a')]
      .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44)
      .map((e) => `${e.outerHTML} is ${e.getBoundingClientRect().height} high`));
});

test('text stands out from its background (WCAG AA)', async ({ page }) => {
  await onEveryPage(page, () => {
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const light = (color) => {
      const [r, g, b] = color.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
      for (; e; e = e.parentElement) {
        const color = rgb(getComputedStyle(e).backgroundColor);
        if (color.length === 3 || color[3] === 1) return color;
      }
      return [255, 255, 255];
    };
    const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    return [...document.body.querySelectorAll('*')]
      .filter((e) => hasText(e) && e.checkVisibility({ opacityProperty: true }) && !e.closest(':disabled, noscript, script, .toast'))
      .map((e) => {
        const [a, b] = [light(rgb(getComputedStyle(e).color).slice(0, 3)), light(behind(e).slice(0, 3))].sort((x, y) => y - x);
        return { text: e.textContent.trim(), ratio: (a + 0.05) / (b + 0.05) };
      })
      .filter(({ ratio }) => ratio < 4.5)
      .map(({ text, ratio }) => `“${text}” has a contrast of ${ratio.toFixed(2)}`);
  });
});

test('the keyboard reaches the content first', async ({ page }) => {
  await openShop(page);
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.locator('#main')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('searchbox')).toBeFocused();
});
