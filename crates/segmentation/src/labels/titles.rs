//! What the labels of presets are called in English, German and Chinese, in the words of those who work with customers.

use super::Title;

/// A title as presets have it, which is English, and the same in German and in Chinese.
const TITLES: [(&str, &str, &str); 29] = [
    ("Champions", "Champions", "冠军客户"),
    ("Loyal", "Treue Kunden", "忠诚客户"),
    ("Potential Loyalist", "Mögliche Stammkunden", "潜在忠诚客户"),
    ("New", "Neukunden", "新客户"),
    ("Promising", "Vielversprechende Kunden", "潜力客户"),
    ("Need Attention", "Brauchen Aufmerksamkeit", "需关注客户"),
    ("About To Sleep", "Kurz vor dem Einschlafen", "即将沉睡客户"),
    ("At Risk", "Gefährdete Kunden", "流失风险客户"),
    ("Cannot Lose", "Unverzichtbare Kunden", "不能流失客户"),
    ("Hibernating", "Ruhende Kunden", "休眠客户"),
    ("Lost", "Verlorene Kunden", "已流失客户"),
    ("Unscored", "Nicht bewertet", "未评分"),
    ("VIP", "VIP", "贵宾客户"),
    ("Big Spender", "Umsatzstarke Kunden", "高消费客户"),
    ("Lapsed", "Ehemalige Kunden", "久未消费客户"),
    ("Rare", "Seltene Käufer", "低频客户"),
    ("Regular", "Regelmäßige Käufer", "中频客户"),
    ("Frequent", "Häufige Käufer", "高频客户"),
    ("Low value", "Niedriger Wert", "低价值客户"),
    ("Middle value", "Mittlerer Wert", "中价值客户"),
    ("High value", "Hoher Wert", "高价值客户"),
    ("Ungraded", "Ohne Stufe", "未评级"),
    ("Lead", "Interessenten", "潜在客户"),
    ("Active", "Aktive Kunden", "活跃客户"),
    ("Dormant", "Inaktive Kunden", "沉睡客户"),
    ("Churned", "Abgewanderte Kunden", "流失客户"),
    ("Reactivated", "Zurückgewonnene Kunden", "回流客户"),
    ("Undecided", "Nicht bestimmt", "未确定"),
    ("Other", "Sonstige", "其他"),
];

/// What a label with this English title is called by language. Nothing where presets have no such title.
pub fn titles_of(english: &str) -> Vec<Title> {
    let known = TITLES.iter().find(|(known, ..)| *known == english);
    known.map(|(english, german, chinese)| titles([english, german, chinese])).unwrap_or_default()
}

/// Titles in English, German and Chinese.
pub fn titles(of: [&str; 3]) -> Vec<Title> {
    let title = |(language, title): (&str, &str)| Title { language: language.to_owned(), title: title.to_owned() };
    ["en", "de", "zh"].into_iter().zip(of).map(title).collect()
}
