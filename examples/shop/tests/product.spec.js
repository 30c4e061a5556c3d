const { test, expect } = require('@playwright/test');
const { openShop } = require('./shop');

test('the button shows what the chosen quantity costs', async ({ page }) => {
  await openShop(page, '/product/cheese');
  await expect(page).toHaveTitle('Farmhouse cheddar · Corner Shop');
  await expect(page.getByTestId('price')).toHaveText('£6.25');
  await expect(page.getByRole('button', { name: 'One less' })).toBeDisabled();

  await page.getByRole('button', { name: 'One more' }).click();
  await page.getByRole('button', { name: 'One more' }).click();
  await expect(page.getByTestId('quantity')).toHaveText('3');
  await page.getByRole('button', { name: 'Add 3 to cart · £18.75' }).click();
  await expect(page.getByTestId('cart-count')).toHaveText('3');
});

test('one order takes at most twenty of a product', async ({ page }) => {
  await openShop(page, '/product/soap');
  const more = page.getByRole('button', { name: 'One more' });
  for (let i = 1; i < 20; i++) await more.click();
  await expect(page.getByTestId('quantity')).toHaveText('20');
  await expect(more).toBeDisabled();
});

test('an unknown product leads back to the shop', async ({ page }) => {
  await openShop(page, '/product/caviar');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Not sold here');
  await page.getByRole('link', { name: 'Back to the shop' }).click();
  await expect(page.getByTestId('result-count')).toHaveText('12 products');
});
