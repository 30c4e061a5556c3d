const { test, expect } = require('@playwright/test');
const { openShop, addToCart, goTo } = require('./shop');

// Discount codes came with 1.5.0; the version is what the app says of itself.
let hasCodes;

test.beforeEach(async ({ page, request }) => {
  const { version } = await (await request.get('version.json')).json();
  const [major, minor] = version.split('.').map(Number);
  hasCodes = major > 1 || minor >= 5;
  await openShop(page);
});

test('without a code the full price is charged', async ({ page }) => {
  await addToCart(page, 'House coffee beans');
  await goTo(page, 'Cart');
  await expect(page.getByLabel('Discount code')).toHaveCount(hasCodes ? 1 : 0);
  await expect(page.getByTestId('discount')).toHaveCount(0);
  await expect(page.getByTestId('total')).toHaveText('£12.25');
});

test('a code takes its share off, in the cart and at the checkout', async ({ page }) => {
  test.skip(!hasCodes, 'this version of the shop has no discount codes');
  await addToCart(page, 'House coffee beans', 'City honey');
  await goTo(page, 'Cart');
  await page.getByLabel('Discount code').fill('welcome10');
  await page.getByRole('button', { name: 'Apply' }).click();
  await expect(page.getByTestId('discount')).toHaveText('−£1.60');
  await expect(page.getByTestId('total')).toHaveText('£17.85');
  await page.getByRole('link', { name: 'Check out' }).click();
  await expect(page.getByTestId('discount')).toHaveText('−£1.60');
});

test('a code that does not fit says why', async ({ page }) => {
  test.skip(!hasCodes, 'this version of the shop has no discount codes');
  await addToCart(page, 'Whole milk');
  await goTo(page, 'Cart');
  const code = page.getByLabel('Discount code');
  await code.fill('FREEBEER');
  await page.getByRole('button', { name: 'Apply' }).click();
  await expect(page.getByText('We do not know the code “FREEBEER”')).toBeVisible();
  await code.fill('FRIDAY20');
  await page.getByRole('button', { name: 'Apply' }).click();
  await expect(page.getByText('FRIDAY20 is for carts from £25.00')).toBeVisible();
  await expect(page.getByTestId('discount')).toHaveCount(0);
});
