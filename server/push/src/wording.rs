//! Texts of notifications, in the languages that gimlet knows.

use gimlet_json::JsonContent;

/// A language of notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotificationLanguage {
    /// English.
    #[default]
    English,
    /// Chinese in simplified characters.
    SimplifiedChinese,
    /// Chinese in traditional characters.
    TraditionalChinese,
}

/// The texts of a language.
struct LanguageTexts {
    new_message: &'static str,
    face: &'static str,
    voice: &'static str,
    image: &'static str,
    file: &'static str,
    location: &'static str,
}

const ENGLISH: LanguageTexts = LanguageTexts {
    new_message: "New message",
    face: "[Sticker]",
    voice: "[Voice message]",
    image: "[Photo]",
    file: "[File]",
    location: "[Location]",
};

const SIMPLIFIED_CHINESE: LanguageTexts = LanguageTexts {
    new_message: "新消息",
    face: "[表情]",
    voice: "[语音]",
    image: "[图片]",
    file: "[文件]",
    location: "[位置]",
};

const TRADITIONAL_CHINESE: LanguageTexts = LanguageTexts {
    new_message: "新訊息",
    face: "[貼圖]",
    voice: "[語音]",
    image: "[圖片]",
    file: "[檔案]",
    location: "[位置]",
};

impl NotificationLanguage {
    /// Returns the language of a tag (BCP 47), for example `zh-Hant-TW`; `None` for one that gimlet
    /// has no texts in.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-').map(str::to_ascii_lowercase);
        match parts.next()?.as_str() {
            "en" => Some(Self::English),
            "zh" => {
                let is_traditional =
                    parts.any(|part| ["hant", "tw", "hk", "mo"].contains(&part.as_str()));
                let is_simplified = tag.to_ascii_lowercase().contains("hans");
                Some(if is_traditional && !is_simplified {
                    Self::TraditionalChinese
                } else {
                    Self::SimplifiedChinese
                })
            }
            _ => None,
        }
    }

    const fn texts(self) -> &'static LanguageTexts {
        match self {
            Self::English => &ENGLISH,
            Self::SimplifiedChinese => &SIMPLIFIED_CHINESE,
            Self::TraditionalChinese => &TRADITIONAL_CHINESE,
        }
    }

    /// Returns the text that tells of a message without its content.
    pub(crate) const fn new_message(self) -> &'static str {
        self.texts().new_message
    }

    /// Returns a message's content as a line of text.
    pub(crate) fn content(self, content: &JsonContent) -> &str {
        let texts = self.texts();
        match content {
            JsonContent::Text(text) => &text.text,
            JsonContent::Face(_) => texts.face,
            JsonContent::Voice(_) => texts.voice,
            JsonContent::Image(_) => texts.image,
            JsonContent::File(_) => texts.file,
            JsonContent::Location(_) => texts.location,
            _ => texts.new_message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_find_their_language() {
        use NotificationLanguage::{English, SimplifiedChinese, TraditionalChinese};
        for (tag, language) in [
            ("en", Some(English)),
            ("EN-gb", Some(English)),
            ("zh", Some(SimplifiedChinese)),
            ("zh-CN", Some(SimplifiedChinese)),
            ("zh-Hans-HK", Some(SimplifiedChinese)),
            ("zh-Hant", Some(TraditionalChinese)),
            ("zh-tw", Some(TraditionalChinese)),
            ("pt-BR", None),
            ("", None),
        ] {
            assert_eq!(NotificationLanguage::of_tag(tag), language, "{tag}");
        }
    }
}
