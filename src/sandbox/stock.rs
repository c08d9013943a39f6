//! The goods of one vendor: how much of each SKU lies in each warehouse.

use std::collections::BTreeMap;

use super::settings::Goods;

/// The most stock figures of one vendor.
const MAX_FIGURES: usize = 200_000;

/// One figure. Total is available plus locked plus not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) total: i64,
    pub(super) available: i64,
    pub(super) locked: i64,
    pub(super) non_good: i64,
}

/// A quantity of one SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) quantity: i64,
}

/// What a document does to its SKUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Movement {
    /// An order locks what it needs.
    Lock,
    /// A cancelled order gives it back.
    Unlock,
    /// A shipped order takes it away.
    Ship,
    /// An inbound adds.
    Receive,
}

#[derive(Debug)]
pub(super) struct Stock {
    goods: Goods,
    levels: BTreeMap<(String, String), Level>,
}

impl Stock {
    pub(super) fn new(goods: Goods) -> Self {
        Self { goods, levels: BTreeMap::new() }
    }

    /// The SKUs of `lines` that do not exist, each once.
    pub(super) fn missing(&self, lines: &[Line]) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for line in lines {
            if !self.goods.exists(&line.sku) && !missing.contains(&line.sku) {
                missing.push(line.sku.clone());
            }
        }
        missing
    }

    /// Whether the warehouse can serve all lines, one SKU on several lines taken together.
    pub(super) fn serves(&self, warehouse: &str, lines: &[Line]) -> bool {
        summed(lines).iter().all(|line| self.level(warehouse, &line.sku).available >= line.quantity)
    }

    /// Whether figures for `lines` more SKUs still fit.
    pub(super) fn has_room(&self, lines: usize) -> bool {
        self.levels.len().saturating_add(lines) <= MAX_FIGURES
    }

    pub(super) fn level(&self, warehouse: &str, sku: &str) -> Level {
        let key = (warehouse.to_owned(), sku.to_owned());
        self.levels.get(&key).copied().unwrap_or_else(|| {
            let there = match self.goods.out_of_stock.contains(sku) {
                true => 0,
                false => self.goods.initial_stock,
            };
            Level { total: there, available: there, locked: 0, non_good: 0 }
        })
    }

    /// Moves all lines; gives per SKU the level after it and by how much the total changed.
    pub(super) fn apply(
        &mut self,
        warehouse: &str,
        lines: &[Line],
        movement: Movement,
    ) -> Vec<(String, Level, i64)> {
        let mut after = Vec::new();
        for Line { sku, quantity } in summed(lines) {
            let before = self.level(warehouse, &sku);
            let mut level = before;
            match movement {
                Movement::Lock => {
                    level.available -= quantity;
                    level.locked += quantity;
                }
                Movement::Unlock => {
                    level.available += quantity;
                    level.locked -= quantity;
                }
                Movement::Ship => {
                    level.locked -= quantity;
                    level.total -= quantity;
                }
                Movement::Receive => {
                    level.available += quantity;
                    level.total += quantity;
                }
            }
            self.levels.insert((warehouse.to_owned(), sku.clone()), level);
            after.push((sku, level, level.total - before.total));
        }
        after
    }

    /// The SKUs of a warehouse that have a figure: those asked for, or all that are known of.
    pub(super) fn skus(&self, warehouse: &str, asked: &[String]) -> Vec<String> {
        if !asked.is_empty() {
            return asked.iter().filter(|sku| self.goods.exists(sku)).cloned().collect();
        }
        let moved = self.levels.keys().filter(|(at, _)| at == warehouse).map(|(_, sku)| sku);
        let known = self.goods.known.iter().flatten().chain(&self.goods.out_of_stock);
        let mut skus: Vec<String> =
            moved.chain(known).filter(|sku| self.goods.exists(sku)).cloned().collect();
        skus.sort();
        skus.dedup();
        skus
    }
}

/// One line per SKU, in the order of first mention.
pub(super) fn summed(lines: &[Line]) -> Vec<Line> {
    let mut order: Vec<Line> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        match place.get(line.sku.as_str()).and_then(|at| order.get_mut(*at)) {
            Some(sum) => sum.quantity = sum.quantity.saturating_add(line.quantity),
            None => {
                place.insert(&line.sku, order.len());
                order.push(line.clone());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, quantity: i64) -> Line {
        Line { sku: sku.to_owned(), quantity }
    }

    #[test]
    fn an_order_locks_then_takes_and_a_cancel_gives_back() {
        let mut stock = Stock::new(Goods { initial_stock: 10, ..Goods::default() });
        let lines = [line("A", 2), line("B", 1), line("A", 3)];
        let locked = stock.apply("YK", &lines, Movement::Lock);
        let level = Level { total: 10, available: 5, locked: 5, non_good: 0 };
        assert_eq!(locked.first(), Some(&("A".to_owned(), level, 0)));
        let shipped = stock.apply("YK", &lines, Movement::Ship);
        let level = Level { total: 5, available: 5, locked: 0, non_good: 0 };
        assert_eq!(shipped.first(), Some(&("A".to_owned(), level, -5)));
        assert!(!stock.serves("YK", &[line("A", 3), line("A", 3)]));
        assert!(stock.serves("01", &[line("A", 10)]), "each warehouse has its own");
    }
}
