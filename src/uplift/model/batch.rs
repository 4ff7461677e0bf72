//! Rows that are to be scored, as columns of the features that a model wants.

/// Some rows of the catalogue, of the features that are wanted.
#[derive(Default)]
pub struct Batch {
    pub properties: Vec<[u8; 16]>,
    /// Column by column, in the order of `Wanted`.
    pub numbers: Vec<Vec<f64>>,
    /// Ends of the values in `text`; None if it is missing.
    pub texts: Vec<Vec<Option<(usize, usize)>>>,
    pub text: String,
}

impl Batch {
    pub fn new(wanted: &Wanted) -> Self {
        let mut batch = Self::default();
        batch.numbers.resize_with(wanted.numbers.len(), Vec::new);
        batch.texts.resize_with(wanted.texts.len(), Vec::new);
        batch
    }

    pub fn clear(&mut self) {
        self.properties.clear();
        self.numbers.iter_mut().for_each(Vec::clear);
        self.texts.iter_mut().for_each(Vec::clear);
        self.text.clear();
    }

    pub fn push_text(&mut self, column: usize, value: Option<&str>) {
        let range = value.map(|value| {
            self.text += value;
            (self.text.len() - value.len(), self.text.len())
        });
        self.texts[column].push(range);
    }
}

/// Places in the catalogue of what expressions name.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    pub numbers: Vec<usize>,
    pub texts: Vec<usize>,
}
