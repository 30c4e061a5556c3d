// What the specs share: opening the shop past its welcome, and filling the cart by hand.
const { expect } = require('@playwright/test');

/** Opens a page of the shop as a visitor who has seen the welcome. */
async function openShop(page, route = '/') {
  await page.addInitScript(() => {
    if (!localStorage.getItem('corner-shop')) localStorage.setItem('corner-shop', JSON.stringify({ welcomed: true }));
  });
  await page.goto(`./#${route}`);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
}

/** Adds one piece of each named product from the catalogue, which must be open. */
async function addToCart(page, ...names) {
  for (const name of names) await page.getByRole('button', { name: `Add ${name} to cart` }).click();
}

/** Goes to a tab of the bar at the bottom: Shop, Cart or Account. */
async function goTo(page, tab) {
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: tab }).click();
}

module.exports = { openShop, addToCart, goTo };
