const { test, expect } = require('@playwright/test');
const { openShop, addToCart, goTo } = require('./shop');

test('the cart is still there after the app was closed', async ({ page, context }) => {
  await openShop(page);
  await addToCart(page, 'Bunched carrots', 'Unwaxed lemons');
  await page.close();

  const again = await context.newPage();
  await openShop(again, '/cart');
  await expect(again.getByRole('list', { name: 'Cart' }).getByRole('listitem')).toHaveCount(2);
  await expect(again.getByTestId('subtotal')).toHaveText('£3.10');
});

test('the shop opens and sells without a network', async ({ page, context }) => {
  await openShop(page);
  await test.step('the shop has stored itself', async () => {
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
    await expect.poll(() => page.evaluate(() => Boolean(navigator.serviceWorker.controller))).toBe(true);
  });
  await test.step('it starts again offline', async () => {
    await context.setOffline(true);
    await page.reload();
    await expect(page.getByRole('status').filter({ hasText: 'You are offline' })).toBeVisible();
    await addToCart(page, 'Free-range eggs');
    await goTo(page, 'Cart');
    await expect(page.getByTestId('subtotal')).toHaveText('£2.85');
  });
  await test.step('and notices the network again', async () => {
    await context.setOffline(false);
    await expect(page.getByText('You are offline')).toBeHidden();
  });
});

test('a damaged memory does not keep the shop shut', async ({ page }) => {
  await page.addInitScript(() => localStorage.setItem('corner-shop', '{"cart":'));
  await page.goto('./');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Good food from round the corner');
});
