const { test, expect } = require('@playwright/test');
const { openShop } = require('./shop');

test.beforeEach(async ({ page }) => openShop(page));

test('finds by name, by category and by description', async ({ page }) => {
  const box = page.getByRole('searchbox');
  for (const [words, id, count] of [['sourdough', 'bread', 1], ['dairy', 'eggs', 3], ['cocoa SALT', 'chocolate', 1]]) {
    await test.step(`search for ${words}`, async () => {
      await box.fill(words);
      await expect(page.getByTestId(`product-${id}`)).toBeVisible();
      await expect(page.getByTestId('result-count')).toHaveText(count === 1 ? '1 product' : `${count} products`);
    });
  }
});

test('says when nothing was found, as text, and offers the way back', async ({ page }) => {
  await page.getByRole('searchbox').fill('<b>caviar</b>');
  await expect(page.getByRole('heading', { level: 2 })).toHaveText('Nothing found for “<b>caviar</b>”');
  await page.getByRole('button', { name: 'Show everything' }).click();
  await expect(page.getByTestId('result-count')).toHaveText('12 products');
  await expect(page.getByRole('searchbox')).toHaveValue('');
});

test('a search is still there after a look at a product', async ({ page }) => {
  await page.getByRole('searchbox').fill('honey');
  await page.getByTestId('product-honey').getByRole('link').click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('City honey');
  await page.goBack();
  await expect(page.getByRole('searchbox')).toHaveValue('honey');
  await expect(page.getByTestId('result-count')).toHaveText('1 product');
});
