//! Rate cards: what each act costs.
//!
//! Invariant: a card is never changed once published, and a new version never
//! reprices an earlier act. Which of several prices holds is the engine's to say.

use super::super::{body, words};
use super::{ColorMode, Conversion};
use crate::Credits;

words! {
    /// What has a price.
    pub enum PricedAct {
        /// A print: its impressions, and its sheets.
        #[n(0)]
        Print,
        /// A page captured.
        #[n(1)]
        Capture,
        /// A page converted, for each kind of conversion.
        #[n(2)]
        Conversion,
        /// A page sent to one destination.
        #[n(3)]
        Send,
        /// A page saved.
        #[n(4)]
        Save,
    }

    /// What a price is for one of.
    pub enum PricedUnit {
        /// An image captured, converted, sent or saved.
        #[n(0)]
        Page,
        /// A side of media marked.
        #[n(1)]
        Impression,
        /// A piece of media used.
        #[n(2)]
        Sheet,
    }
}

body! {
    /// Prices of acts. A new version never reprices an earlier act.
    pub struct RateCard {
        /// Grows by one with each card of a tenant; 1 is built in.
        #[n(0)]
        pub version: u32,
        /// A captured page.
        #[n(1)]
        pub capture: Credits,
        /// A monochrome impression printed.
        #[n(2)]
        pub print_monochrome: Credits,
        /// A color impression printed.
        #[n(3)]
        pub print_color: Credits,
        /// One kind of conversion of one page.
        #[n(4)]
        pub conversion: Credits,
        /// A monochrome page sent to one destination.
        #[n(5)]
        pub send_monochrome: Credits,
        /// A color page sent to one destination.
        #[n(6)]
        pub send_color: Credits,
        /// A page saved in the server's own store.
        #[n(7)]
        pub save: Credits,
        /// Prices that hold instead of these where they fit: of several, the most particular.
        #[n(8)]
        pub finer: Option<Vec<FinerPrice>>,
    }

    /// A price for some acts of a kind.
    pub struct FinerPrice {
        /// Of what.
        #[n(0)]
        pub act: PricedAct,
        /// For one of which.
        #[n(1)]
        pub unit: PricedUnit,
        /// Only in monochrome, or only in color.
        #[n(2)]
        pub color: Option<ColorMode>,
        /// Only of this size: a `media` keyword (PWG 5101.1), or its beginning, as `iso_a3`.
        #[n(3)]
        pub media: Option<String>,
        /// Only this kind of conversion.
        #[n(4)]
        pub conversion: Option<Conversion>,
        /// How much.
        #[n(5)]
        pub price: Credits,
    }

    /// A rate card came into force, from this event's position on.
    pub struct RateCardPublished {
        /// The card.
        #[n(0)]
        pub card: RateCard,
    }
}
